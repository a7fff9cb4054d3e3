// Package checkstest is shared by the tests of checks: it judges a run of an honest balancer with one thing changed. No
// program imports it.
package checkstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Baseline returns the plan of the scenario "baseline".
func Baseline(t testing.TB) plan.Plan {
	t.Helper()
	p, err := fixtures.Plan("baseline")
	require.NoError(t, err)
	return p
}

// Outcome judges one claim of the baseline for an honest balancer, after edit has changed the history.
func Outcome(t *testing.T, id string, edit func(*history.History)) report.Verdict {
	t.Helper()
	h := fixtures.Simulate(Baseline(t), fixtures.Mutant{}, 1)
	edit(&h)
	r, err := checks.Judge(h)
	require.NoError(t, err)
	for _, v := range r.Verdicts {
		if v.Claim.ID == id {
			return v
		}
	}
	t.Fatalf("no claim %s", id)
	return report.Verdict{}
}

// Decide returns the outcome and the reason of a single finding.
func Decide(f check.Finding, alpha float64) (report.Outcome, string) {
	v := checks.Decide(make([]plan.Claim, 1), []check.Finding{f}, alpha)[0]
	return v.Outcome, v.Reason
}

// Refuted returns the checks that refute a claim of the report.
func Refuted(r report.Report) map[plan.Check]bool {
	names := map[plan.Check]bool{}
	for _, v := range r.Verdicts {
		if v.Outcome == report.Refuted {
			names[v.Claim.Check] = true
		}
	}
	return names
}

// WithErr makes every tenth proxied hit fail with the error.
func WithErr(kind history.Err) func(*history.History) {
	return func(h *history.History) {
		hits := h.Hits
		h.Hits = func(yield func(history.Hit) bool) {
			hits(func(x history.Hit) bool {
				if x.Seq%10 == 0 && x.Server != "" {
					x.Code, x.Server, x.Err = 0, "", kind
				}
				return yield(x)
			})
		}
	}
}
