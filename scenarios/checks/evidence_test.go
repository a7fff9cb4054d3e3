package checks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// The matrices show which checks refute; testdata/evidence.golden shows on what evidence: for the honest and some wrong
// balancers of each matrix, the outcome of every claim, its number of observations, how many it needs, and its p-value.
func TestEvidence(t *testing.T) {
	var evidence strings.Builder
	for _, run := range histories(t) {
		fmt.Fprintf(&evidence, "# %s\n", run.name)
		report, err := checks.Judge(run.h)
		require.NoError(t, err)
		for _, v := range report.Verdicts {
			if v.NotEvaluated {
				continue
			}
			p := "-"
			if v.P != nil {
				p = fmt.Sprintf("%.6g", *v.P)
			}
			fmt.Fprintf(&evidence, "%-60s %-9s n %d, need %d, p %s, %s\n", v.Claim.ID, v.Outcome, v.N, v.Need, p, v.Reason)
			for _, c := range v.Counter {
				fmt.Fprintf(&evidence, "    %s\n", c)
			}
		}
	}
	golden(t, "testdata/evidence.golden", evidence.String())
}

// simulated is the history of a named balancer.
type simulated struct {
	name string
	h    history.History
}

// histories returns the honest and some wrong balancers of each matrix.
func histories(t *testing.T) []simulated {
	t.Helper()
	every, honest := 3, !testing.Short() // of the wrong ones, and every honest one
	if testing.Short() {
		every = 20
	}
	var all []simulated
	add := func(name string, h history.History, err error) {
		t.Helper()
		require.NoError(t, err, name)
		all = append(all, simulated{name, h})
	}
	for i, m := range append([]fixtures.Mutant{{Name: "(honest)"}}, fixtures.Mutants...) {
		if i%every == 0 {
			add("kill: "+m.Name, fixtures.Simulate(checkstest.Baseline(t), m, 1), nil)
		}
	}
	for _, checked := range []bool{false, true} {
		plan, err := fixtures.FailoverPlan(checked)
		require.NoError(t, err)
		for i, m := range append([]fixtures.FailoverBalancer{{Name: "(honest)", HealthChecks: checked}},
			fixtures.FailoverMutants...) {
			if i%every == 0 && m.HealthChecks == checked {
				add("failure: "+m.Name, fixtures.SimulateFailover(plan, m, 1), nil)
			}
		}
	}
	for i, e := range fixtures.ScenarioBalancers {
		if i%every == 0 || honest && e.Refutes == "" {
			h, err := e.History(1)
			add("experiment: "+e.Name, h, err)
		}
	}
	for i, b := range fixtures.Balancers {
		if i%every == 0 || honest && b.Refutes == "" && i%2 == 0 {
			h, err := b.History(1)
			add("law: "+b.Name, h, err)
		}
	}
	for i, r := range fixtures.ProbeBalancers() {
		if i%every == 0 || honest && r.Refutes == "" {
			h, err := r.History()
			add("reply: "+r.Name+" "+r.Config, h, err)
		}
	}
	return all
}

// Phase titles are for people: renaming the phases changes no verdict.
func TestTitlesDecideNothing(t *testing.T) {
	for _, run := range histories(t) {
		before, err := checks.Judge(run.h)
		require.NoError(t, err)
		renamed := map[string]string{}
		run.h.Plan.Phases = slices.Clone(run.h.Plan.Phases)
		for i, p := range run.h.Plan.Phases {
			renamed[p.Name] = fmt.Sprintf("phase %d", i)
			run.h.Plan.Phases[i].Name = renamed[p.Name]
		}
		run.h.Plan.Claims = slices.Clone(run.h.Plan.Claims)
		for i, c := range run.h.Plan.Claims {
			if c.Check == plan.CheckExpect { // its subject is a phase name
				run.h.Plan.Claims[i].Subject = renamed[c.Subject]
			}
		}
		after, err := checks.Judge(run.h)
		require.NoError(t, err)
		for i, v := range before.Verdicts {
			w := after.Verdicts[i]
			require.Equal(t, []any{v.Outcome, v.N, v.Need, v.P}, []any{w.Outcome, w.N, w.Need, w.P}, "%s: %s: %s", run.name,
				v.Claim.ID, w.Reason)
		}
	}
}
