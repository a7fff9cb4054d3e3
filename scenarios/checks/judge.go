package checks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/traffic"
)

// Judge decides every claim of a history's plan. It returns an error only if the history cannot be read.
func Judge(h history.History) (report.Report, error) {
	withSubrequests := h
	h = check.WithoutSubrequests(h)
	phases, err := traffic.SumPhases(h)
	if err != nil {
		return report.Report{}, err
	}
	delivery, err := traffic.SumDelivery(check.WithoutCopies(h))
	if err != nil {
		return report.Report{}, fmt.Errorf("match requests to arrivals: %w", err)
	}
	findings, err := findAll(h, withSubrequests)
	if err != nil {
		return report.Report{}, err
	}
	r := report.Report{
		Schema:   report.ReportSchema,
		Name:     h.Plan.Name,
		Balancer: h.Plan.Config.Balancer,
		Alpha:    h.Plan.Alpha,
		Beta:     h.Plan.Beta,
		Env:      h.Env,
		Verdicts: Decide(h.Plan.Claims, findings, h.Plan.Alpha),
		Designed: isDesigned(h.Plan),
		Problems: problems(h.Plan.Config),
		Phases:   phases,
		Delivery: delivery,
	}
	for i, claim := range h.Plan.Claims {
		r.Verdicts[i].NotEvaluated = !h.Plan.Decides(claim)
		explain(&r.Verdicts[i], h.Plan.Config.Dialect)
	}
	if err := h.Err(); err != nil {
		return report.Report{}, err
	}
	return r, nil
}

// findAll returns a finding for every claim of the plan.
func findAll(h, withSubrequests history.History) ([]check.Finding, error) {
	findings := make([]check.Finding, len(h.Plan.Claims))
	for i, claim := range h.Plan.Claims {
		if findings[i] = whyNotEvaluated(claim, h.Plan); findings[i].Inconclusive != "" {
			continue
		}
		evidence := h
		c, err := Find(claim.Check)
		if err == nil && c.Evidence.Subrequests != nil && c.Evidence.Subrequests(h.Plan.Config, claim) {
			evidence = withSubrequests
		}
		findings[i] = runCheck(claim, evidence)
		if err := h.Err(); err != nil {
			return nil, fmt.Errorf("judge %s: %w", claim.ID, err)
		}
	}
	return findings, nil
}

// isDesigned reports whether lbproof designed the phases of a plan; a scenario's have no kind.
func isDesigned(p plan.Plan) bool {
	return slices.ContainsFunc(p.Phases, func(p plan.Phase) bool { return p.Kind != "" })
}

// problems are the parts of a configuration that cannot work as written. The balancer started, so it rejected none.
func problems(cfg model.Config) []model.Problem {
	isRejected := func(p model.Problem) bool { return p.Effect == model.Rejected }
	return slices.DeleteFunc(append([]model.Problem{}, cfg.Problems...), isRejected)
}

// explain adds the usual cause of a refuted claim on this balancer, and what to write instead.
func explain(v *report.Verdict, d model.Dialect) {
	if v.Outcome != report.Refuted {
		return
	}
	if advice, ok := d.AdviceFor(string(v.Claim.Check), v.Claim.Detail); ok {
		v.Why, v.Instead = advice.Why, advice.Instead
	}
}

// whyNotEvaluated explains why the run does not evaluate a claim; the zero Finding if it does.
func whyNotEvaluated(claim plan.Claim, p plan.Plan) check.Finding {
	if p.Decides(claim) {
		return check.Finding{}
	}
	if c, err := Find(claim.Check); err == nil && !c.CanJudge() {
		return check.Finding{Inconclusive: check.NoExperiment}
	}
	if isDesigned(p) {
		return check.Finding{Inconclusive: "excluded by --checks"}
	}
	return check.Finding{Inconclusive: "not evaluated by scenario " + p.Name}
}

// runCheck runs one check. A crash leaves the claim undecided: it says nothing about the balancer.
func runCheck(claim plan.Claim, h history.History) (f check.Finding) {
	defer func() {
		if crash := recover(); crash != nil {
			f = check.Finding{Inconclusive: fmt.Sprintf("the check crashed: %v", crash)}
		}
	}()
	c, err := Find(claim.Check)
	if err != nil {
		return check.Finding{Untestable: err.Error() + " in this version of lbproof"}
	}
	if !c.CanJudge() {
		return check.Finding{Inconclusive: check.NoExperiment}
	}
	if why := c.Evidence.WhyAmbiguous(h.Plan, claim); why != "" {
		return check.Finding{Inconclusive: why}
	}
	h = check.FilterPhases(h, claim.Check)
	if !c.Evidence.Copies {
		h = check.WithoutCopies(h)
	}
	if c.Judge == nil {
		return check.JudgeProbes(c.ProbesIn(h.Plan), claim, h)
	}
	f = c.Judge(claim, h)
	if why := findLoggedFailure(h); why != "" && len(f.CounterExamples) > 0 && c.Evidence.Undisturbed {
		f.CounterExamples, f.Inconclusive = nil, why
	}
	if f.N == 0 && f.Untestable == "" && len(h.Plan.ProbeHeader) == 0 && slices.ContainsFunc(h.Plan.Config.Routes,
		check.NeedsCredentials) {
		f.Note = strings.TrimPrefix(f.Note+"; "+check.CredentialsHint, "; ")
	}
	return f
}

// findLoggedFailure quotes a failed attempt from the balancer's log that no fault of the run explains, or returns "".
func findLoggedFailure(h history.History) string {
	if slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool { return m.Event.Fault != plan.FaultSlow }) {
		return ""
	}
	lines := check.MatchLog(h, h.Plan.Config.Dialect.Log.FailedAttempt)
	if len(lines) == 0 {
		return ""
	}
	return fmt.Sprintf("the balancer's log shows failed attempts, after which it may eject a server: %s", lines[0].Text)
}
