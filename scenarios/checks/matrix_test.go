package checks_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// An honest balancer is never refuted, and the scenario's traffic decides every claim that the scenario evaluates.
func TestHonestBalancerIsUpheld(t *testing.T) {
	pl := checkstest.Baseline(t)
	for seed := range seeds(50) {
		r := judge(t, pl, fixtures.Mutant{}, seed)
		for _, v := range r.Verdicts {
			if v.NotEvaluated {
				assert.Equal(t, report.Undecided, v.Outcome, v.Claim.ID)
				assert.Contains(t, []string{check.NoExperiment, "not evaluated by scenario baseline"}, v.Reason)
				continue
			}
			assert.Equal(t, report.Upheld, v.Outcome, "seed %d: %s: %s", seed, v.Claim.ID, v.Reason)
			assert.NotEmpty(t, v.Test)
		}
		assert.Zero(t, r.ExitCode())
	}
}

// A matrix has one section per configuration, one row per balancer (the honest one first) and one column per check with
// claims there. A cell is the outcome of the check's claims. No cell of an honest row is refuted; in a mutant's row the
// cell of the check that must detect it is.
type matrix struct {
	sections []*section
	only     []plan.Check // nil: every check that the runs decide
}

type section struct {
	config string
	names  []string
	cells  []map[plan.Check]string // by row
}

// row is one balancer of a matrix.
type row struct {
	config, name string
	refutes      plan.Check // empty: an honest balancer
	runs         uint64     // one per seed, from 0
	history      func(seed uint64) (history.History, error)
	counted      bool // cells count the claims per outcome
}

// add judges the runs of a balancer and appends its row.
func (m *matrix) add(t *testing.T, r row) {
	t.Helper()
	cells := map[plan.Check]outcomes{}
	for seed := range r.runs {
		h, err := r.history(seed)
		require.NoError(t, err, r.name)
		got, err := checks.Judge(h)
		require.NoError(t, err, r.name)
		assert.Equal(t, r.refutes != "", checkstest.Refuted(got)[r.refutes], "%s (seed %d)", r.name, seed)
		for _, v := range got.Verdicts {
			if r.refutes == "" {
				assert.NotEqual(t, report.Refuted, v.Outcome, "%s: seed %d: %s: %s %v", r.name, seed, v.Claim.ID, v.Reason,
					v.Counter)
			}
			if name := v.Claim.Check; !v.NotEvaluated && (m.only == nil || slices.Contains(m.only, name)) {
				cells[name] = append(cells[name], v.Outcome)
			}
		}
	}
	s := m.section(r.config)
	s.names, s.cells = append(s.names, r.name), append(s.cells, map[plan.Check]string{})
	for name, all := range cells {
		s.cells[len(s.cells)-1][name] = all.cell()
		if r.counted {
			s.cells[len(s.cells)-1][name] = all.counted()
		}
	}
}

func (m *matrix) section(config string) *section {
	i := slices.IndexFunc(m.sections, func(s *section) bool { return s.config == config })
	if i < 0 {
		m.sections = append(m.sections, &section{config: config})
		i = len(m.sections) - 1
	}
	return m.sections[i]
}

func (m *matrix) String() string {
	var all []string
	for _, s := range m.sections {
		all = append(all, s.String())
	}
	return strings.Join(all, "\n")
}

// String formats the section as an aligned table.
func (s *section) String() string {
	lines := make([]string, 1+len(s.names))
	column := func(head string, cell func(i int) string) {
		width := len(head)
		for i := range s.names {
			width = max(width, len(cell(i)))
		}
		lines[0] += fmt.Sprintf("%-*s  ", width, head)
		for i := range s.names {
			lines[1+i] += fmt.Sprintf("%-*s  ", width, cell(i))
		}
	}
	column("mutant", func(i int) string { return s.names[i] })
	for _, c := range checks.All {
		if slices.ContainsFunc(s.cells, func(cells map[plan.Check]string) bool { return cells[c.Name] != "" }) {
			column(string(c.Name), func(i int) string { return cmp.Or(s.cells[i][c.Name], "-") })
		}
	}
	return "# " + s.config + "\n" + strings.Join(lines, "\n") + "\n"
}

// outcomes are the outcomes of one check's claims.
type outcomes []report.Outcome

// cell is refuted if any claim was in any run, and undecided if all were.
func (o outcomes) cell() string {
	if slices.Contains(o, report.Refuted) {
		return report.Refuted.String()
	}
	i := slices.IndexFunc(o, func(one report.Outcome) bool { return one != report.Undecided })
	return o[max(0, i)].String()
}

// counted counts the claims per outcome.
func (o outcomes) counted() string {
	var parts []string
	for _, kind := range []report.Outcome{report.Refuted, report.Undecided, report.Untestable, report.Upheld} {
		n := 0
		for _, one := range o {
			if one == kind {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, n))
		}
	}
	return strings.Join(parts, ", ")
}

// Every check refutes its mutants, with every seed.
func TestKillMatrix(t *testing.T) {
	pl := checkstest.Baseline(t)
	var m matrix
	for _, of := range append([]fixtures.Mutant{{Name: "(honest)"}}, fixtures.Mutants...) {
		m.add(t, row{
			config: "nginx/weighted", name: of.Name, refutes: of.Refutes, runs: seeds(5),
			history: func(seed uint64) (history.History, error) { return fixtures.Simulate(pl, of, seed), nil },
		})
	}
	golden(t, "testdata/kill-matrix.golden", m.String())
}

// The same for the handling of outages.
func TestFailureMatrix(t *testing.T) {
	var m matrix
	for _, checked := range []bool{false, true} {
		pl, err := fixtures.FailoverPlan(checked)
		require.NoError(t, err)
		config := "nginx with a backup and a server that is down"
		if checked {
			config = "haproxy/weighted"
		}
		for i, of := range append([]fixtures.FailoverBalancer{{Name: "(honest)", HealthChecks: checked}},
			fixtures.FailoverMutants...) {
			if of.HealthChecks != checked || testing.Short() && i%5 > 0 {
				continue
			}
			m.add(t, row{
				config: config, name: of.Name, refutes: of.Refutes, runs: seeds(3),
				history: func(seed uint64) (history.History, error) { return fixtures.SimulateFailover(pl, of, seed), nil },
			})
		}
	}
	golden(t, "testdata/failure-matrix.golden", m.String())
}

// Mutants of the other scenarios are refuted by their own check and by no other.
func TestExperiments(t *testing.T) {
	var m matrix
	for _, of := range fixtures.ScenarioBalancers {
		config := "scenario " + of.Scenario
		if of.Config != "" {
			config += " of " + of.Config
		}
		m.add(t, row{config: config, name: of.Name, refutes: of.Refutes, runs: seeds(5), history: of.History})
	}
	golden(t, "testdata/experiments.golden", m.String())
}

// Every check with probes refutes balancers that answer them incorrectly and upholds an honest one.
func TestProbeBalancers(t *testing.T) {
	var m matrix
	for _, of := range fixtures.ProbeBalancers() {
		m.add(t, row{
			config: of.Config, name: of.Name, refutes: of.Refutes, runs: 1, counted: true,
			history: func(uint64) (history.History, error) { return of.History() },
		})
		if s := m.section(of.Config); of.Refutes == "" {
			assert.Contains(t, s.cells[len(s.cells)-1][of.Check], "upheld", of.Name)
		}
	}
	golden(t, "testdata/probes.golden", m.String())
}

// The laws of distribution, limits and sessions refute each wrong balancer under the generated experiments, and no
// honest one.
func TestLaws(t *testing.T) {
	m := matrix{only: fixtures.LawChecks}
	for i, of := range fixtures.Balancers {
		if testing.Short() && i%5 > 0 {
			continue
		}
		m.add(t, row{config: of.Config, name: of.Name, refutes: of.Refutes, runs: seeds(2), history: of.History})
		s := m.section(of.Config)
		for name, outcome := range s.cells[len(s.cells)-1] {
			if of.Refutes == "" && of.Stalls == "" {
				assert.Equal(t, report.Upheld.String(), outcome, "%s: %s", of.Name, name)
			}
		}
	}
	golden(t, "testdata/laws.golden", m.String())
}

func judge(t testing.TB, p plan.Plan, m fixtures.Mutant, seed uint64) report.Report {
	t.Helper()
	r, err := checks.Judge(fixtures.Simulate(p, m, seed))
	require.NoError(t, err)
	return r
}

// seeds is the number of runs of each kind; -short, also used with the race detector, runs a tenth.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return max(1, n/10)
	}
	return n
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if testing.Short() {
		return // the golden file covers all seeds
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
