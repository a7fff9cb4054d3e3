package checks_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

func TestDecide(t *testing.T) {
	f := func(finding check.Finding, want report.Outcome) {
		t.Helper()
		got := checks.Decide([]plan.Claim{{}}, []check.Finding{finding}, 0.001)
		assert.Equal(t, want, got[0].Outcome, got[0].Reason)
		assert.Equal(t, want != report.Upheld, got[0].Reason != "", "every outcome but upheld has a reason")
	}
	f(check.Finding{}, report.Undecided)
	f(check.Finding{N: 10, Need: 11}, report.Undecided)
	f(check.Finding{N: 11, Need: 11}, report.Upheld)
	f(check.Finding{N: 1, Need: 11, CounterExamples: []string{"one is enough"}}, report.Refuted)
	f(check.Finding{N: 11, Inconclusive: "the law does not apply"}, report.Undecided)
	f(check.Finding{N: 11, Untestable: "not testable"}, report.Untestable)
	f(check.Finding{N: 11, Tested: true, P: 0.0009}, report.Refuted)
	f(check.Finding{N: 11, Tested: true, P: 0.0011}, report.Upheld)
	f(check.Finding{N: 10, Need: 11, Tested: true, P: 0.0009}, report.Undecided)
	f(check.Finding{N: 10, Need: 11, Tested: true, AnytimeValid: true, P: 0.0009}, report.Refuted)
	f(check.Finding{N: 10, Need: 11, Tested: true, AnytimeValid: true, P: 0.0011}, report.Undecided)
}

// A p-value of 0.0009 refutes alone, but not among two.
func TestDecideCorrectsForMultiplicity(t *testing.T) {
	one := check.Finding{N: 1, Tested: true, P: 0.0009}
	other := check.Finding{N: 1, Tested: true, P: 0.5}
	got := checks.Decide(make([]plan.Claim, 2), []check.Finding{one, other}, 0.001)
	assert.Equal(t, report.Upheld, got[0].Outcome)
	assert.InDelta(t, 0.0018, *got[0].P, 1e-9)
}
