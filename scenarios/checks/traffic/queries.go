package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// RuleQueries checks Prometheus rules.
var RuleQueries = check.Check{
	Name: plan.CheckQueries,
	Doc:  "Prometheus rules must only reference exported series; other rules can never fire.",
	Law: "Prometheus evaluates the rules during the traffic; a selector without series, or a rule that cannot be " +
		"evaluated, refutes",
	Claims: func(model.Config) []plan.Claim { return nil }, // the scenario makes them
	Judge:  judgeQueries,
}

func judgeQueries(claim plan.Claim, h history.History) check.Finding {
	f := check.Finding{
		Test: "every selector of the rule, queried in Prometheus after the traffic", Need: 1,
		Inconclusive: check.WhyNodeExited(h),
	}
	i := slices.IndexFunc(h.Plan.Queries, func(q plan.Query) bool { return q.Name == claim.Subject && q.Pos == claim.Pos })
	if i < 0 || i >= len(h.Env.RuleResults) {
		f.Inconclusive = "Prometheus was not queried"
		return f
	}
	q, got := h.Plan.Queries[i], h.Env.RuleResults[i]
	f.N = len(q.Selectors)
	f.Measured = fmt.Sprintf("%s series for %s", units.Number(got.Series), units.Plural(f.N, "selector"))
	f.Predicted = "a series for each selector"
	f.Power = "detects a metric or label that does not exist"
	for _, m := range got.Missing {
		near := "no series has that name"
		if m.Similar != "" {
			near = "closest is " + m.Similar
		}
		f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("no series matches %s: %s", m.Selector, near))
	}
	if got.Err != "" {
		f.CounterExamples = append(f.CounterExamples, "Prometheus cannot evaluate it: "+got.Err)
	}
	if len(got.Firing) > 0 {
		f.Measured += "; fired " + spansText(got.Firing)
	}
	return f
}

// spansText prints when an alert fired.
func spansText(spans []history.Span) string {
	var all []string
	for _, s := range spans {
		all = append(all, fmt.Sprintf("%.0f–%.0f s", s.From.Seconds(), s.To.Seconds()))
	}
	return strings.Join(all, ", ")
}

// judgeAlert judges "alert NAME fires" and "alert NAME is silent" for a phase. Prometheus evaluates once a second.
func judgeAlert(e expectation, h history.History, phase int) check.Finding {
	f := check.Finding{
		N: 1, Need: 1, Test: "the alert's series in Prometheus, every second of the phase",
		Predicted: e.Metric, Inconclusive: check.WhyNodeExited(h),
	}
	i := slices.IndexFunc(h.Plan.Queries, func(q plan.Query) bool { return q.Alert && q.Name == e.Alert })
	if i < 0 {
		return check.Finding{Untestable: "the scenario's rules have no alert " + e.Alert}
	}
	if i >= len(h.Env.RuleResults) || phase >= len(h.Env.Phases) {
		f.Inconclusive = "Prometheus was not queried, or the phase did not run"
		return f
	}
	var within []history.Span
	for _, s := range h.Env.RuleResults[i].Firing {
		if p := h.Env.Phases[phase]; s.From < p.End && s.To > p.Start+time.Second {
			within = append(within, s)
		}
	}
	f.Measured = "silent"
	if len(within) > 0 {
		f.Measured = "fired " + spansText(within)
	}
	if (len(within) > 0) != (e.Metric == plan.AlertFires) {
		f.CounterExamples = []string{fmt.Sprintf("alert %s in phase %s: %s, expected that it %s",
			e.Alert, h.Plan.Phases[phase].Name, f.Measured, e.Metric)}
	}
	f.Power = "evaluated every second"
	return f
}
