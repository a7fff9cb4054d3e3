package checks_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// An honest balancer is never convicted, and with the scenario's traffic every promise is upheld.
func TestHonestBalancerIsUpheld(t *testing.T) {
	pl := checkstest.Baseline(t)
	for seed := range seeds(50) {
		r := judge(t, pl, fixtures.Mutant{}, seed)
		for _, v := range r.Verdicts {
			if v.Outside {
				assert.Equal(t, report.Undecided, v.Outcome, v.Claim.ID)
				assert.Contains(t, []string{check.NoExperiment, "not what the scenario baseline looks at"}, v.Reason)
				continue
			}
			assert.Equal(t, report.Upheld, v.Outcome, "seed %d: %s: %s", seed, v.Claim.ID, v.Reason)
			assert.NotEmpty(t, v.Test)
		}
		assert.Zero(t, r.ExitCode())
	}
}

// Every check refutes its mutants, whatever the seed; the whole matrix is kept in testdata/kill-matrix.golden.
func TestKillMatrix(t *testing.T) {
	pl := checkstest.Baseline(t)
	var matrix strings.Builder
	fmt.Fprintf(&matrix, "%-46s", "mutant")
	judges := judging(pl)
	for _, c := range judges {
		fmt.Fprintf(&matrix, " %-9s", c.Name)
	}
	for _, m := range append([]fixtures.Mutant{{Name: "(honest)"}}, fixtures.Mutants...) {
		fmt.Fprintf(&matrix, "\n%-46s", m.Name)
		outcomes := map[plan.Check]report.Outcome{}
		for seed := range seeds(5) {
			r := judge(t, pl, m, seed)
			if m.Refutes != "" {
				assert.True(t, checkstest.Refuted(r)[m.Refutes], "%s is not refuted by %s (seed %d)", m.Name, m.Refutes, seed)
			}
			for _, v := range r.Verdicts {
				if v.Outcome == report.Refuted || (v.Outcome == report.Undecided && outcomes[v.Claim.Check] != report.Refuted) || outcomes[v.Claim.Check] == 0 {
					outcomes[v.Claim.Check] = v.Outcome
				}
			}
		}
		for _, c := range judges {
			fmt.Fprintf(&matrix, " %-9s", outcomes[c.Name])
		}
	}
	golden(t, "testdata/kill-matrix.golden", matrix.String()+"\n")
}

// The same for what balancers do when servers die.
func TestFailureMatrix(t *testing.T) {
	var matrix strings.Builder
	for _, haproxy := range []bool{false, true} {
		pl, err := fixtures.FailurePlan(haproxy)
		require.NoError(t, err)
		judges := judging(pl)
		fmt.Fprintf(&matrix, "%-52s", "mutant")
		for _, c := range judges {
			fmt.Fprintf(&matrix, " %-9s", c.Name)
		}
		for i, m := range append([]fixtures.Failing{{Name: "(honest)", HAProxy: haproxy}}, fixtures.FailureMutants...) {
			if m.HAProxy != haproxy || testing.Short() && i%5 > 0 {
				continue
			}
			fmt.Fprintf(&matrix, "\n%-52s", m.Name)
			outcomes := map[plan.Check]report.Outcome{}
			for seed := range seeds(3) {
				r, err := checks.Judge(fixtures.SimulateFailures(pl, m, seed))
				require.NoError(t, err)
				assert.Equal(t, m.Refutes != "", checkstest.Refuted(r)[m.Refutes], "%s (seed %d)", m.Name, seed)
				for _, v := range r.Verdicts {
					if m.Refutes == "" && !v.Outside {
						assert.NotEqual(t, report.Refuted, v.Outcome, "%s: %s: %s", m.Name, v.Claim.ID, v.Reason)
					}
					if !v.Outside && (v.Outcome == report.Refuted || outcomes[v.Claim.Check] == 0) {
						outcomes[v.Claim.Check] = v.Outcome
					}
				}
			}
			for _, c := range judges {
				outcome, made := outcomes[c.Name]
				if !made {
					fmt.Fprintf(&matrix, " %-9s", "-") // no such promise
					continue
				}
				fmt.Fprintf(&matrix, " %-9s", outcome)
			}
		}
		matrix.WriteString("\n\n")
	}
	golden(t, "testdata/failure-matrix.golden", matrix.String())
}

// What other scenarios show is refuted where it is wrong, and nowhere else; testdata/experiments.golden keeps it.
func TestExperiments(t *testing.T) {
	var matrix strings.Builder
	for _, e := range fixtures.Experiments {
		fmt.Fprintf(&matrix, "%-52s", e.Name)
		outcomes := map[plan.Check]report.Outcome{}
		for seed := range seeds(5) {
			h, err := e.History(seed)
			require.NoError(t, err)
			r, err := checks.Judge(h)
			require.NoError(t, err)
			for _, v := range r.Verdicts {
				if v.Outside {
					continue
				}
				if e.Refutes == "" {
					assert.NotEqual(t, report.Refuted, v.Outcome, "%s: seed %d: %s: %s", e.Name, seed, v.Claim.ID, v.Reason)
				}
				if v.Outcome == report.Refuted || outcomes[v.Claim.Check] == 0 {
					outcomes[v.Claim.Check] = v.Outcome
				}
			}
			assert.Equal(t, e.Refutes != "", checkstest.Refuted(r)[e.Refutes], "%s (seed %d)", e.Name, seed)
		}
		for _, c := range checks.All {
			if outcome, made := outcomes[c.Name]; made {
				fmt.Fprintf(&matrix, " %s %s", c.Name, outcome)
			}
		}
		matrix.WriteString("\n")
	}
	golden(t, "testdata/experiments.golden", matrix.String())
}

// Every check that asks questions refutes balancers that answer them otherwise, and upholds one that does not;
// testdata/replies.golden keeps it.
func TestReplies(t *testing.T) {
	var matrix strings.Builder
	for _, r := range fixtures.Repliers() {
		h, err := r.History()
		require.NoError(t, err)
		rep, err := checks.Judge(h)
		require.NoError(t, err)
		outcomes := map[report.Outcome]int{}
		for _, v := range rep.Verdicts {
			if !v.Outside {
				outcomes[v.Outcome]++
			}
			if r.Refutes == "" {
				assert.NotEqual(t, report.Refuted, v.Outcome, "%s: %s: %s %v", r.Name, v.Claim.ID, v.Reason, v.Counter)
			}
		}
		assert.Equal(t, r.Refutes != "", outcomes[report.Refuted] > 0, r.Name)
		assert.Equal(t, r.Refutes == "", outcomes[report.Upheld] > 0 && outcomes[report.Refuted] == 0, r.Name)
		fmt.Fprintf(&matrix, "%-46s %-28s upheld %d, refuted %d, undecided %d, untestable %d\n", r.Name, r.Config,
			outcomes[report.Upheld], outcomes[report.Refuted], outcomes[report.Undecided], outcomes[report.Untestable])
	}
	golden(t, "testdata/replies.golden", matrix.String())
}

// The laws of distribution, limits and sessions refute each wrong balancer under the experiments that lbproof designs, and no
// honest one; testdata/laws.golden keeps what every check says of each.
func TestLaws(t *testing.T) {
	var matrix strings.Builder
	for i, b := range fixtures.Balancers {
		if testing.Short() && i%5 > 0 {
			continue
		}
		fmt.Fprintf(&matrix, "%-76s", b.Name)
		outcomes := map[plan.Check]report.Outcome{}
		for seed := range seeds(2) {
			h, err := b.History(seed)
			require.NoError(t, err)
			r, err := checks.Judge(h)
			require.NoError(t, err)
			for _, v := range r.Verdicts {
				if b.Refutes == "" {
					assert.NotEqual(t, report.Refuted, v.Outcome, "%s: seed %d: %s: %s", b.Name, seed, v.Claim.ID, v.Reason)
				}
				if slices.Contains(fixtures.Lawful, v.Claim.Check) && (outcomes[v.Claim.Check] == 0 || v.Outcome == report.Refuted) {
					outcomes[v.Claim.Check] = v.Outcome
				}
				if b.Refutes == "" && b.Stalls == "" && slices.Contains(fixtures.Lawful, v.Claim.Check) {
					assert.Equal(t, report.Upheld, v.Outcome, "%s: seed %d: %s: %s", b.Name, seed, v.Claim.ID, v.Reason)
				}
			}
			assert.Equal(t, b.Refutes != "", checkstest.Refuted(r)[b.Refutes], "%s (seed %d)", b.Name, seed)
		}
		for _, name := range fixtures.Lawful {
			if outcome, made := outcomes[name]; made {
				fmt.Fprintf(&matrix, " %s %s", name, outcome)
			}
		}
		matrix.WriteString("\n")
	}
	golden(t, "testdata/laws.golden", matrix.String())
}

func judge(t testing.TB, p plan.Plan, m fixtures.Mutant, seed uint64) report.Report {
	t.Helper()
	r, err := checks.Judge(fixtures.Simulate(p, m, seed))
	require.NoError(t, err)
	return r
}

// judging are the checks that a plan decides by an experiment.
func judging(p plan.Plan) []check.Check {
	var out []check.Check
	for _, c := range checks.All {
		if c.Decides() && p.Decides(plan.Claim{Check: c.Name}) {
			out = append(out, c)
		}
	}
	return out
}

// seeds is how many runs of each kind there are: under -short, which the race detector runs with, a few are enough.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return max(1, n/10)
	}
	return n
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if testing.Short() {
		return // it is of all the seeds
	}
	var lines []string
	for line := range strings.Lines(got) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	got = strings.Join(lines, "\n") + "\n"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got)
}
