package checks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks"
)

func TestEveryCheckIsDocumented(t *testing.T) {
	seen := map[plan.Check]bool{}
	assert.Equal(t, units.JoinWith(plan.Checks, " "), strings.Join(checks.Names(), " "),
		"plan.Checks and All differ")
	for _, c := range checks.All {
		assert.NotEmpty(t, c.Doc, c.Name)
		assert.NotEmpty(t, c.Law, c.Name)
		assert.False(t, seen[c.Name], "two checks have the name %s", c.Name)
		seen[c.Name] = true
	}
}

func TestEveryCheckHasMutants(t *testing.T) {
	refuted := map[plan.Check]int{}
	for _, m := range fixtures.Mutants {
		refuted[m.Refutes]++
	}
	for _, m := range fixtures.FailoverMutants {
		refuted[m.Refutes]++
	}
	for _, e := range fixtures.ScenarioBalancers {
		refuted[e.Refutes]++
	}
	for _, b := range fixtures.Balancers {
		refuted[b.Refutes]++
	}
	for _, r := range fixtures.ProbeBalancers() {
		refuted[r.Refutes]++
	}
	for _, c := range checks.All {
		if c.CanJudge() {
			assert.GreaterOrEqual(t, refuted[c.Name], 2,
				"check %s refutes fewer than two mutants; add one to fixtures", c.Name)
		}
	}
}
