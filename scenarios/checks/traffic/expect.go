package traffic

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Expectations is the check of what a scenario expects of its own phases, beside what the configuration promises.
var Expectations = check.Check{
	Name: plan.CheckExpect,
	Doc: "A phase of traffic does as the scenario expects of it: latency, errors, requests, of all or of one backend " +
		"or status.",
	Law: "the phase's own requests, counted: the claim is about them and no others. Latency counts from when a " +
		"request was due; " +
		"what the sender itself was late, or a processor limit of the scenario's own held back, convicts nobody; nor " +
		"what was asked " +
		"while a fault of an earlier phase was still on its way",
	Claims: func(model.Config) []plan.Claim { return nil }, // the scenario makes them
	Judge:  judgeExpect,
}

// expectation is what one line of a phase's expect says, as it is judged.
type expectation plan.Expectation

func (e expectation) holds(value float64) bool {
	switch e.Op {
	case "<":
		return value < e.Bound
	case "<=":
		return value <= e.Bound
	case ">":
		return value > e.Bound
	case ">=":
		return value >= e.Bound
	}
	return math.Abs(value-e.Bound) < 1e-9
}

// about says whether a hit counts.
func (e expectation) about(hit history.Hit) bool {
	backend := e.Backend == "" || model.SameHost(hit.Server, e.Backend)
	status := e.Status == 0 || hit.Err == "" && hit.Code == e.Status
	return backend && status
}

// need is how many hits make a percentile more than the largest of them.
func (e expectation) need() int {
	if e.Rank == 0 {
		return 1
	}
	return int(math.Ceil(1/(1-e.Rank) - 1e-9))
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
		atBound := e.Op == "<" || e.Op == ">=" // is on the slow side
		return d.Seconds() > e.Bound || atBound && d.Seconds() == e.Bound
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
	return n-beyond >= int(math.Ceil(e.Rank*float64(n)-1e-9))
}

func judgeExpect(claim plan.Claim, h history.History) check.Finding {
	load := slices.IndexFunc(h.Plan.Phases, func(l plan.Phase) bool { return l.Name == claim.Subject })
	if claim.Expects == nil || load < 0 {
		return check.Finding{Cannot: "the plan has no such phase, or this version of lbproof does not know the expectation"}
	}
	e := expectation(*claim.Expects)
	if e.Alert != "" {
		return judgeAlert(e, h, load)
	}
	l := h.Plan.Phases[load]
	var c count
	for hit := range h.Hits {
		if hit.Load == load {
			c.add(e, hit, l)
		}
	}
	f := check.Finding{
		N: c.n, Need: e.need(), Test: "count over the phase's own requests", Predicted: e.Source, Power: "counts every request of the phase",
	}
	holds, anyway := e.judge(c, &f)
	switch {
	case e.cutShort(h, load, c, holds):
		f.Broken = fmt.Sprintf("the phase did not run to its end: %s of %s",
			units.Number(c.all), units.Plural(l.Count, "request"))
	case !holds:
		if f.Broken = e.excuse(h, load, c, anyway); f.Broken == "" {
			f.Counter = []string{fmt.Sprintf("%s in the phase %s", f.Measured, l.Name)}
			f.Note = overload(h, load)
		}
	case c.unsent > 0:
		f.Broken = fmt.Sprintf("%s could not be sent", units.Plural(c.unsent, "request"))
	}
	return f
}

// cutShort reports whether a phase lacks requests that could have changed the verdict: an expectation that does not
// hold may be excused otherwise.
func (e expectation) cutShort(h history.History, load int, c count, holds bool) bool {
	ended := c.all > 0 && c.all < h.Plan.Phases[load].Count && !broke(h, load)
	return ended && (holds || e.Metric == "requests" || e.Metric == "rate")
}

// excuse is what else than the balancer keeps the expectation from holding; empty: nothing. anyway: it would hold if
// the sender had not been late.
func (e expectation) excuse(h history.History, load int, c count, anyway bool) string {
	if why := cmp.Or(check.NodeDied(h), saturated(h, load)); why != "" {
		return why
	}
	if plan.Expectation(e).Timed() {
		if anyway {
			return "the sender itself was late, and without that it would hold"
		}
		if why := held(h, load); why != "" {
			return why + ", which is the cause of the latencies"
		}
	}
	return onItsWay(h, load, c.began)
}

// onItsWay says which fault of an earlier phase was still coming into force, or still going, when the phase began.
func onItsWay(h history.History, load int, began time.Duration) string {
	for _, m := range h.Env.Marks {
		name := fmt.Sprintf("%s of %s, ordered in the phase %s,",
			m.Event.Fault, m.Event.Target, h.Plan.Phases[m.Event.Phase].Name)
		switch {
		case m.Event.Phase >= load:
		case m.Ordered <= began && began < m.From:
			return fmt.Sprintf("%s was in force only %.1f s after this phase began: leave it more time",
				name, (m.From - began).Seconds())
		case m.Ended > m.Ordered && m.Ended <= began && began < m.To:
			return fmt.Sprintf("%s was gone only %.1f s after this phase began: leave it more time",
				name, (m.To - began).Seconds())
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
	case e.Rank > 0:
		bound := time.Duration(e.Bound * float64(time.Second))
		f.Measured = fmt.Sprintf("%s of %s at or above %s", units.Number(c.slow), units.Number(c.n), bound)
		slow := e.Op == ">" || e.Op == ">="
		return e.fast(c.slow, c.n) != slow, e.fast(c.slowAnyway, c.n) != slow
	case e.Metric == "max":
		f.Measured = "max " + millis(c.most)
		return e.holds(c.most.Seconds()), e.holds(c.mostAnyway.Seconds())
	case e.Metric == "mean":
		mean := c.sum / time.Duration(max(1, c.n))
		f.Measured = "mean " + millis(mean)
		return e.holds(mean.Seconds()), false
	case e.Metric == "rate":
		value = float64(c.n) / max(1e-9, (c.last-c.first).Seconds())
		f.Measured = fmt.Sprintf("%.1f per second", value)
		return e.holds(value), false
	case e.Metric == "errors":
		value = float64(c.errors)
	}
	f.Measured = fmt.Sprintf("%s of %s", units.Number(int(value)), units.Number(c.all))
	if e.Metric == "errors" {
		f.Measured = fmt.Sprintf("%s of %s failed", units.Number(c.errors), units.Number(c.n))
	}
	if e.Share {
		of := c.all
		if e.Metric == "errors" {
			of = c.n
		}
		value /= float64(max(1, of))
	}
	if e.Metric == "requests" { // none of a kind is an observation too
		f.N = c.all
	}
	return e.holds(value), false
}
