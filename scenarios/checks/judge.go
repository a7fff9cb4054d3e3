package checks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/traffic"
)

// Judge decides every claim of a history's plan. It fails only where the history cannot be read.
func Judge(h history.History) (report.Report, error) {
	all := h
	h = check.WithoutSubrequests(h)
	phases, err := traffic.SumPhases(h)
	if err != nil {
		return report.Report{}, err
	}
	book, err := traffic.Account(check.WithoutCopies(h))
	if err != nil {
		return report.Report{}, fmt.Errorf("join the ledgers: %w", err)
	}
	findings := make([]check.Finding, len(h.Plan.Claims))
	for i, claim := range h.Plan.Claims {
		if findings[i] = outside(claim, h.Plan); findings[i].Broken != "" {
			continue
		}
		seen := h
		if c, err := Find(claim.Check); err == nil && c.Evidence.Subrequests != nil && c.Evidence.Subrequests(h.Plan.Config, claim) {
			seen = all
		}
		findings[i] = find(claim, seen)
		if err := h.Err(); err != nil {
			return report.Report{}, fmt.Errorf("judge %s: %w", claim.ID, err)
		}
	}
	r := report.Report{
		Schema:   report.ReportSchema,
		Name:     h.Plan.Name,
		Alpha:    h.Plan.Alpha,
		Beta:     h.Plan.Beta,
		Env:      h.Env,
		Verdicts: Decide(h.Plan.Claims, findings, h.Plan.Alpha),
		Phases:   phases,
		Ledger:   book,
	}
	for i, claim := range h.Plan.Claims {
		r.Verdicts[i].Outside = !h.Plan.Decides(claim)
	}
	if err := h.Err(); err != nil {
		return report.Report{}, err
	}
	return r, nil
}

// outside says why a claim is not looked at in a run that did not set out to decide it.
func outside(claim plan.Claim, p plan.Plan) check.Finding {
	if p.Decides(claim) {
		return check.Finding{}
	}
	if c, err := Find(claim.Check); err == nil && !c.Decides() {
		return check.Finding{Broken: check.NoExperiment}
	}
	return check.Finding{Broken: "not what the scenario " + p.Name + " looks at"}
}

// find runs one check. A crash of a check says nothing about the balancer.
func find(claim plan.Claim, h history.History) (f check.Finding) {
	defer func() {
		if crash := recover(); crash != nil {
			f = check.Finding{Broken: fmt.Sprintf("the check crashed: %v", crash)}
		}
	}()
	c, err := Find(claim.Check)
	if err != nil {
		return check.Finding{Cannot: err.Error() + " in this version of lbproof"}
	}
	if !c.Decides() {
		return check.Finding{Broken: check.NoExperiment}
	}
	if why := c.Evidence.Mixed(h.Plan, claim); why != "" {
		return check.Finding{Broken: why}
	}
	h = check.FocusOn(h, claim.Check)
	if !c.Evidence.Copies {
		h = check.WithoutCopies(h)
	}
	if c.Judge == nil {
		return check.JudgeQuestions(c.AskedIn(h.Plan), claim, h)
	}
	f = c.Judge(claim, h)
	if why := attemptFailed(h); why != "" && len(f.Counter) > 0 && c.Evidence.Undisturbed {
		f.Counter, f.Broken = nil, why
	}
	if f.N == 0 && f.Cannot == "" && len(h.Plan.Carried) == 0 && slices.ContainsFunc(h.Plan.Config.Routes, check.IsShut) {
		f.Note = strings.TrimPrefix(f.Note+"; "+check.HowToOpen, "; ")
	}
	return f
}

// attemptFailed says where the balancer's log tells of a failed attempt that nobody made fail.
func attemptFailed(h history.History) string {
	if slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool { return m.Event.Fault != plan.FaultSlow }) {
		return ""
	}
	lines := check.Logged(h, h.Plan.Config.Dialect.Log.Attempt)
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("the balancer's log tells of attempts that failed, after which it leaves a server alone: %s", lines[0].Text)
}
