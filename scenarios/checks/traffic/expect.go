package traffic

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Expect is the check of what a scenario expects of its own phases, beside what the configuration promises.
const Expect = plan.CheckExpect

var Expectations = check.Check{
	Name: Expect,
	Doc:  "A phase of traffic does as the scenario expects of it: latency, errors, requests, of all or of one backend or status.",
	Law: "the phase's own requests, counted: the claim is about them and no others. Latency counts from when a request was due; " +
		"what the sender itself was late, or a processor limit of the scenario's own held back, convicts nobody; nor what was asked " +
		"while a fault of an earlier phase was still on its way",
	Claims: func(model.Config) []plan.Claim { return nil }, // the scenario makes them
	Judge:  judgeExpect,
}

// expectation is one line of a phase's expect.
type expectation struct {
	metric  string  // p50 … p99.9, max, mean, errors, requests, rate
	rank    float64 // of a percentile, in 0 to 1
	alert   string  // instead: an alert of Prometheus, and metric says what it does
	backend string  // only hits that it answered
	status  int     // only hits with it
	op      string
	bound   float64 // seconds, a number, or a share
	share   bool    // bound is of all hits of the phase
}

var expectLine = regexp.MustCompile(`^(p\d+(?:\.\d+)?|max|mean|errors|requests|rate)\s*(?:\{\s*(backend|status)\s*:\s*([^}\s]+)\s*\})?\s*(<=|>=|==|<|>)\s*(\S+)$`)

// What alerts are expected to do.
const (
	fires  = "fires"
	silent = "is silent"
)

var alertLine = regexp.MustCompile(`^alert (\w+) (` + fires + `|` + silent + `)$`)

// ParseExpectation reads a line such as "p99 < 250ms", "errors == 0", "errors{backend: back-01} < 1%",
// "requests{status: 429} == 0" or "alert BackendDown fires".
func ParseExpectation(text string) error {
	_, err := parseExpectation(text)
	return err
}

func parseExpectation(text string) (e expectation, err error) {
	if m := alertLine.FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		return expectation{alert: m[1], metric: m[2]}, nil
	}
	m := expectLine.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return e, fmt.Errorf("%q is no expectation: write for example p99 < 250ms, errors == 0, errors < 1%%, max{backend: back-01} < 2s, requests{status: 429} == 0, rate >= 240 or alert NAME fires", text)
	}
	e.metric, e.op = m[1], m[4]
	switch m[2] {
	case "backend":
		e.backend = m[3]
	case "status":
		if e.status, err = strconv.Atoi(m[3]); err != nil {
			return e, fmt.Errorf("%q: %s is no status", text, m[3])
		}
	}
	if rank, ok := strings.CutPrefix(e.metric, "p"); ok {
		percent, _ := strconv.ParseFloat(rank, 64) // the expression has seen to it
		if e.rank = percent / 100; e.rank <= 0 || e.rank >= 1 {
			return e, fmt.Errorf("%q: a percentile lies between p0 and p100", text)
		}
	}
	value := m[5]
	switch {
	case e.timed():
		d, bad := time.ParseDuration(value)
		if e.op == "==" {
			return e, fmt.Errorf("%q: a latency is never exactly a value: write < or >", text)
		}
		if bad != nil {
			return e, fmt.Errorf("%q: %s is no time, as 250ms", text, value)
		}
		e.bound = d.Seconds()
		return e, nil
	case strings.HasSuffix(value, "%") && e.metric != "rate":
		e.share, value = true, strings.TrimSuffix(value, "%")
	}
	if e.bound, err = strconv.ParseFloat(value, 64); err != nil {
		return e, fmt.Errorf("%q: %s is no number", text, m[5])
	}
	if e.share {
		e.bound /= 100
	}
	return e, nil
}

// timed says whether the metric is a latency.
func (e expectation) timed() bool {
	return e.metric == "max" || e.metric == "mean" || strings.HasPrefix(e.metric, "p")
}

func (e expectation) holds(value float64) bool {
	switch e.op {
	case "<":
		return value < e.bound
	case "<=":
		return value <= e.bound
	case ">":
		return value > e.bound
	case ">=":
		return value >= e.bound
	}
	return math.Abs(value-e.bound) < 1e-9
}

// about says whether a hit counts.
func (e expectation) about(hit history.Hit) bool {
	return (e.backend == "" || model.SameHost(hit.Server, e.backend)) && (e.status == 0 || hit.Err == "" && hit.Code == e.status)
}

// need is how many hits make a percentile more than the largest of them.
func (e expectation) need() int {
	if e.rank == 0 {
		return 1
	}
	return int(math.Ceil(1/(1-e.rank) - 1e-9))
}

// count is what a phase's hits come to.
type count struct {
	all, n, errors, unsent int
	slow, slowAnyway       int // at or beyond the bound; also without the sender's own lateness
	sum, most, mostAnyway  time.Duration
	first, last            time.Duration
	began                  time.Duration // when the phase's first request was due
}

func (c *count) add(e expectation, hit history.Hit, l plan.Phase) {
	if c.all == 0 || hit.Due < c.began {
		c.began = hit.Due
	}
	c.all++
	if hit.Err == history.Tester {
		c.unsent++
		return
	}
	if !e.about(hit) {
		return
	}
	if c.n == 0 || hit.Sent < c.first {
		c.first = hit.Sent
	}
	c.n++
	c.last = max(c.last, hit.Done)
	if hit.Failed() {
		c.errors++
	}
	late := hit.Done - hit.Due
	anyway := late - ownLag(hit, l)
	c.sum += late
	c.most, c.mostAnyway = max(c.most, late), max(c.mostAnyway, anyway)
	beyond := func(d time.Duration) bool {
		return d.Seconds() > e.bound || d.Seconds() == e.bound && (e.op == "<" || e.op == ">=")
	}
	if beyond(late) {
		c.slow++
	}
	if beyond(anyway) {
		c.slowAnyway++
	}
}

// fast says whether a percentile is within its bound where so many of n hits are beyond it: the value at rank ⌈q·n⌉.
func (e expectation) fast(beyond, n int) bool {
	return n-beyond >= int(math.Ceil(e.rank*float64(n)-1e-9))
}

func judgeExpect(claim plan.Claim, h history.History) check.Finding {
	_, text, _ := strings.Cut(claim.ID, "#")
	e, err := parseExpectation(text)
	load := slices.IndexFunc(h.Plan.Phases, func(l plan.Phase) bool { return l.Name == claim.Subject })
	if err != nil || load < 0 {
		return check.Finding{Cannot: "the plan has no such phase, or this version of lbproof does not know the expectation"}
	}
	if e.alert != "" {
		return judgeAlert(e, h, load)
	}
	l := h.Plan.Phases[load]
	var c count
	for hit := range h.Hits {
		if hit.Load == load {
			c.add(e, hit, l)
		}
	}
	f := check.Finding{N: c.n, Need: e.need(), Test: "count over the phase's own requests", Predicted: text}
	holds, anyway := e.judge(c, &f)
	switch why := saturated(h, load); {
	case c.all > 0 && c.all < l.Count && (holds || e.metric == "requests" || e.metric == "rate") && !broke(h, load):
		f.Broken = fmt.Sprintf("the phase did not run to its end: %s of %s", units.Number(c.all), units.Plural(l.Count, "request"))
	case check.NodeDied(h) != "" && !holds:
		f.Broken = check.NodeDied(h)
	case why != "" && !holds:
		f.Broken = why
	case e.timed() && !holds && anyway:
		f.Broken = "the sender itself was late, and without that it would hold"
	case e.timed() && !holds && held(h, load) != "":
		f.Broken = held(h, load) + ", which is the cause of the latencies"
	case !holds && onItsWay(h, load, c.began) != "":
		f.Broken = onItsWay(h, load, c.began)
	case !holds:
		f.Counter = []string{fmt.Sprintf("%s in the phase %s", f.Measured, l.Name)}
		f.Note = overload(h, load)
	case c.unsent > 0:
		f.Broken = fmt.Sprintf("%s could not be sent", units.Plural(c.unsent, "request"))
	}
	f.Power = "counts every request of the phase"
	return f
}

// onItsWay says which fault of an earlier phase was still coming into force, or still going, when the phase began.
func onItsWay(h history.History, load int, began time.Duration) string {
	for _, m := range h.Env.Marks {
		name := fmt.Sprintf("%s of %s, ordered in the phase %s,", m.Event.Fault, m.Event.Target, h.Plan.Phases[m.Event.Phase].Name)
		switch {
		case m.Event.Phase >= load:
		case m.Ordered <= began && began < m.From:
			return fmt.Sprintf("%s was in force only %.1f s after this phase began: leave it more time", name, (m.From - began).Seconds())
		case m.Ended > m.Ordered && m.Ended <= began && began < m.To:
			return fmt.Sprintf("%s was gone only %.1f s after this phase began: leave it more time", name, (m.To - began).Seconds())
		}
	}
	return ""
}

// broke says whether a phase ended early because its load became too much, as the plan wants it to.
func broke(h history.History, load int) bool {
	return load < len(h.Env.Phases) && h.Env.Phases[load].Broke
}

// judge says whether the expectation holds, and whether it would if the sender had not been late.
func (e expectation) judge(c count, f *check.Finding) (holds, anyway bool) {
	millis := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
	value := float64(c.n)
	switch {
	case e.rank > 0:
		f.Measured = fmt.Sprintf("%s of %s at or above %s", units.Number(c.slow), units.Number(c.n), time.Duration(e.bound*float64(time.Second)))
		slow := e.op == ">" || e.op == ">="
		return e.fast(c.slow, c.n) != slow, e.fast(c.slowAnyway, c.n) != slow
	case e.metric == "max":
		f.Measured = "max " + millis(c.most)
		return e.holds(c.most.Seconds()), e.holds(c.mostAnyway.Seconds())
	case e.metric == "mean":
		mean := c.sum / time.Duration(max(1, c.n))
		f.Measured = "mean " + millis(mean)
		return e.holds(mean.Seconds()), false
	case e.metric == "rate":
		value = float64(c.n) / max(1e-9, (c.last-c.first).Seconds())
		f.Measured = fmt.Sprintf("%.1f per second", value)
		return e.holds(value), false
	case e.metric == "errors":
		value = float64(c.errors)
	}
	f.Measured = fmt.Sprintf("%s of %s", units.Number(int(value)), units.Number(c.all))
	if e.metric == "errors" {
		f.Measured = fmt.Sprintf("%s of %s failed", units.Number(c.errors), units.Number(c.n))
	}
	if e.share {
		of := c.all
		if e.metric == "errors" {
			of = c.n
		}
		value /= float64(max(1, of))
	}
	if e.metric == "requests" { // none of a kind is an observation too
		f.N = c.all
	}
	return e.holds(value), false
}
