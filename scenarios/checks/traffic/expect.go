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

// Expectations checks what a scenario expects of its own phases, in addition to the configuration's claims.
var Expectations = check.Check{
	Name: plan.CheckExpect,
	Doc:  "A phase meets the scenario's expectations: latency, errors and requests, in total or per backend or status.",
	Law: "only the phase's own requests count; latency counts from when a request was due. A late load generator, the " +
		"scenario's own CPU limits and a pending fault of an earlier phase never refute",
	Claims: func(model.Config) []plan.Claim { return nil }, // the scenario makes them
	Judge:  judgeExpect,
}

// expectation is one line of a phase's expect section.
type expectation plan.Expectation

func (e expectation) isMet(value float64) bool {
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

// appliesTo reports whether a hit counts.
func (e expectation) appliesTo(hit history.Hit) bool {
	backend := e.Backend == "" || model.SameHost(hit.Server, e.Backend)
	status := e.Status == 0 || hit.Err == "" && hit.Code == e.Status
	return backend && status
}

// minHits returns how many hits a percentile needs so as not to be just the maximum.
func (e expectation) minHits() int {
	if e.Quantile == 0 {
		return 1
	}
	return int(math.Ceil(1/(1-e.Quantile) - 1e-9))
}

// phaseCount sums up the hits of a phase.
type phaseCount struct {
	total, n, errors, unsent        int
	slow, slowWithoutLag            int // at or beyond the bound; also without the load generator's lag
	sum, longest, longestWithoutLag time.Duration
	first, last                     time.Duration
	start                           time.Duration // when the first request of the phase was due
}

func (c *phaseCount) add(e expectation, hit history.Hit, l plan.Phase) {
	if c.total == 0 || hit.Due < c.start {
		c.start = hit.Due
	}
	c.total++
	if hit.Err == history.Tester {
		c.unsent++
		return
	}
	if !e.appliesTo(hit) {
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
	withoutLag := late - senderLag(hit, l)
	c.sum += late
	c.longest, c.longestWithoutLag = max(c.longest, late), max(c.longestWithoutLag, withoutLag)
	beyond := func(d time.Duration) bool {
		atBound := e.Op == "<" || e.Op == ">=" // a value at the bound is slow
		return d.Seconds() > e.Bound || atBound && d.Seconds() == e.Bound
	}
	if beyond(late) {
		c.slow++
	}
	if beyond(withoutLag) {
		c.slowWithoutLag++
	}
}

// isPercentileBelow reports whether a percentile is within its bound if that many of n hits are beyond it: the value
// at rank ⌈q·n⌉.
func (e expectation) isPercentileBelow(beyond, n int) bool {
	return n-beyond >= int(math.Ceil(e.Quantile*float64(n)-1e-9))
}

func judgeExpect(claim plan.Claim, h history.History) check.Finding {
	phase := slices.IndexFunc(h.Plan.Phases, func(l plan.Phase) bool { return l.Name == claim.Subject })
	if claim.Expectation == nil || phase < 0 {
		return check.Finding{Untestable: "unknown phase or expectation"}
	}
	e := expectation(*claim.Expectation)
	if e.Alert != "" {
		return judgeAlert(e, h, phase)
	}
	l := h.Plan.Phases[phase]
	var c phaseCount
	for hit := range h.Hits {
		if hit.Phase == phase {
			c.add(e, hit, l)
		}
	}
	f := check.Finding{
		N: c.n, Need: e.minHits(), Predicted: e.Source,
		Test:  "count over the phase's own requests",
		Power: "counts every request of the phase",
	}
	holds, withoutLag := e.judge(c, &f)
	switch {
	case e.isCutShort(h, phase, c, holds):
		f.Inconclusive = fmt.Sprintf("the phase did not finish: %s of %s",
			units.Number(c.total), units.Plural(l.Count, "request"))
	case !holds:
		if f.Inconclusive = e.excuse(h, phase, c, withoutLag); f.Inconclusive == "" {
			f.CounterExamples = []string{fmt.Sprintf("%s in phase %s", f.Measured, l.Name)}
			f.Note = explainOverload(h, phase)
		}
	case c.unsent > 0:
		f.Inconclusive = fmt.Sprintf("%s could not be sent", units.Plural(c.unsent, "request"))
	}
	return f
}

// isCutShort reports whether a phase lacks requests that could have changed the verdict; an unmet expectation may
// have another excuse.
func (e expectation) isCutShort(h history.History, phase int, c phaseCount, holds bool) bool {
	ended := c.total > 0 && c.total < h.Plan.Phases[phase].Count && !hasBroken(h, phase)
	return ended && (holds || e.Metric == "requests" || e.Metric == "rate")
}

// excuse returns a cause other than the balancer for an unmet expectation, or "". withoutLag: it would be met if the
// load generator had not been late.
func (e expectation) excuse(h history.History, phase int, c phaseCount, withoutLag bool) string {
	if reason := cmp.Or(check.WhyNodeExited(h), explainSaturation(h, phase)); reason != "" {
		return reason
	}
	if plan.Expectation(e).IsLatency() {
		if withoutLag {
			return "the load generator was late; otherwise the expectation would be met"
		}
		if reason := explainThrottling(h, phase); reason != "" {
			return reason + ", which affects latencies"
		}
	}
	return explainPendingFault(h, phase, c.start)
}

// explainPendingFault names a fault of an earlier phase that was still taking effect, or still being healed, when the
// phase began.
func explainPendingFault(h history.History, phase int, began time.Duration) string {
	for _, m := range h.Env.Faults {
		name := fmt.Sprintf("%s of %s from phase %s",
			m.Event.Fault, m.Event.Target, h.Plan.Phases[m.Event.Phase].Name)
		switch {
		case m.Event.Phase >= phase:
		case m.RequestedAt <= began && began < m.StartsBy:
			return fmt.Sprintf("%s took effect only %.1f s after this phase began; allow more time",
				name, (m.StartsBy - began).Seconds())
		case m.EndsAfter > m.RequestedAt && m.EndsAfter <= began && began < m.EndsBy:
			return fmt.Sprintf("%s ended only %.1f s after this phase began; allow more time",
				name, (m.EndsBy - began).Seconds())
		}
	}
	return ""
}

// hasBroken reports whether a phase ended early at its breaking point.
func hasBroken(h history.History, phase int) bool {
	return phase < len(h.Env.Phases) && h.Env.Phases[phase].Broken
}

// judge reports whether the expectation is met, and whether it would be if the load generator had not been late.
func (e expectation) judge(c phaseCount, f *check.Finding) (holds, withoutLag bool) {
	millis := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
	value := float64(c.n)
	switch {
	case e.Quantile > 0:
		bound := time.Duration(e.Bound * float64(time.Second))
		f.Measured = fmt.Sprintf("%s of %s at or above %s", units.Number(c.slow), units.Number(c.n), units.Duration(bound))
		slow := e.Op == ">" || e.Op == ">="
		return e.isPercentileBelow(c.slow, c.n) != slow, e.isPercentileBelow(c.slowWithoutLag, c.n) != slow
	case e.Metric == "max":
		f.Measured = "max " + millis(c.longest)
		return e.isMet(c.longest.Seconds()), e.isMet(c.longestWithoutLag.Seconds())
	case e.Metric == "mean":
		mean := c.sum / time.Duration(max(1, c.n))
		f.Measured = "mean " + millis(mean)
		return e.isMet(mean.Seconds()), false
	case e.Metric == "rate":
		value = float64(c.n) / max(1e-9, (c.last-c.first).Seconds())
		f.Measured = fmt.Sprintf("%.1f req/s", value)
		return e.isMet(value), false
	case e.Metric == "errors":
		value = float64(c.errors)
	}
	f.Measured = fmt.Sprintf("%s of %s", units.Number(int(value)), units.Number(c.total))
	if e.Metric == "errors" {
		f.Measured = fmt.Sprintf("%s of %s failed", units.Number(c.errors), units.Number(c.n))
	}
	if e.BoundIsShare {
		of := c.total
		if e.Metric == "errors" {
			of = c.n
		}
		value /= float64(max(1, of))
	}
	if e.Metric == "requests" { // zero matching requests is an observation too
		f.N = c.total
	}
	return e.isMet(value), false
}
