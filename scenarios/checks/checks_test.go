package checks_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var update = flag.Bool("update", false, "rewrite golden files")

func baseline(t testing.TB) plan.Plan {
	t.Helper()
	p, err := fixtures.Plan("baseline")
	require.NoError(t, err)
	return p
}

func judge(t testing.TB, p plan.Plan, m fixtures.Mutant, seed uint64) report.Report {
	t.Helper()
	r, err := checks.Judge(fixtures.Simulate(p, m, seed))
	require.NoError(t, err)
	return r
}

// refuted names the checks that refute a claim of the report.
func refuted(r report.Report) map[plan.Check]bool {
	names := map[plan.Check]bool{}
	for _, v := range r.Verdicts {
		if v.Outcome == report.Refuted {
			names[v.Claim.Check] = true
		}
	}
	return names
}

// A promise that the scenario does not look at is told, is undecided whatever its check could say, and changes no exit code.
func TestOutsideTheScenario(t *testing.T) {
	h := fixtures.Simulate(baseline(t), fixtures.Mutants[0], 1) // whose weights are wrong
	h.Plan.Checks = []plan.Check{plan.CheckAnswered}
	r, err := checks.Judge(h)
	require.NoError(t, err)
	assert.Zero(t, r.ExitCode())
	assert.Equal(t, 1, r.Count(report.Upheld))
	assert.Equal(t, len(h.Plan.Claims)-1, r.Outside())
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckWeights {
			assert.Equal(t, report.Undecided, v.Outcome)
			assert.Equal(t, "not what the scenario baseline looks at", v.Reason)
		}
	}
}

// An honest balancer is never convicted, and with the scenario's traffic every promise is upheld.
func TestHonestBalancerIsUpheld(t *testing.T) {
	pl := baseline(t)
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
	pl := baseline(t)
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
				assert.True(t, refuted(r)[m.Refutes], "%s is not refuted by %s (seed %d)", m.Name, m.Refutes, seed)
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
				assert.Equal(t, m.Refutes != "", refuted(r)[m.Refutes], "%s (seed %d)", m.Name, seed)
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
			assert.Equal(t, e.Refutes != "", refuted(r)[e.Refutes], "%s (seed %d)", e.Name, seed)
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

// A breaker whose times are others than the configuration's is refuted, each by its own.
func TestBreakersTimes(t *testing.T) {
	i := slices.IndexFunc(fixtures.Repliers(), func(r fixtures.Replier) bool { return r.Check == plan.CheckBreaker && r.Refutes == "" })
	for name, change := range map[string]func(*model.Breaker){
		"looks more often":     func(b *model.Breaker) { b.Every = b.Every * 21 / 20 },
		"looks less often":     func(b *model.Breaker) { b.Every = b.Every * 3 / 5 },
		"is open for less":     func(b *model.Breaker) { b.Open = b.Open * 5 / 3 },
		"recovers faster":      func(b *model.Breaker) { b.Recovery = b.Recovery * 5 / 3 },
		"recovers more slowly": func(b *model.Breaker) { b.Recovery = b.Recovery * 3 / 5 },
	} {
		h, err := fixtures.Repliers()[i].History()
		require.NoError(t, err)
		for i, r := range h.Plan.Config.Routes {
			if r.Breaker != nil {
				promised := *r.Breaker
				change(&promised)
				h.Plan.Config.Routes[i].Breaker = &promised
			}
		}
		report, err := checks.Judge(h)
		require.NoError(t, err)
		assert.True(t, refuted(report)["breaker"], name)
	}
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
			assert.Equal(t, b.Refutes != "", refuted(r)[b.Refutes], "%s (seed %d)", b.Name, seed)
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

func TestEveryCheckHasMutants(t *testing.T) {
	killed := map[plan.Check]int{}
	for _, m := range fixtures.Mutants {
		killed[m.Refutes]++
	}
	for _, m := range fixtures.FailureMutants {
		killed[m.Refutes]++
	}
	for _, e := range fixtures.Experiments {
		killed[e.Refutes]++
	}
	for _, b := range fixtures.Balancers {
		killed[b.Refutes]++
	}
	for _, r := range fixtures.Repliers() {
		killed[r.Refutes]++
	}
	for _, c := range checks.All {
		if c.Decides() {
			assert.GreaterOrEqual(t, killed[c.Name], 2, "the check %s has fewer than two mutants that it refutes: add one to fixtures", c.Name)
		}
	}
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

func TestEveryCheckIsDocumented(t *testing.T) {
	seen := map[plan.Check]bool{}
	for _, c := range checks.All {
		assert.NotEmpty(t, c.Doc, c.Name)
		assert.NotEmpty(t, c.Law, c.Name)
		assert.False(t, seen[c.Name], "two checks are called %s", c.Name)
		seen[c.Name] = true
	}
}

// outcome judges one claim of a history that edit has changed.
func outcome(t *testing.T, id string, edit func(*history.History)) report.Verdict {
	t.Helper()
	h := fixtures.Simulate(baseline(t), fixtures.Mutant{}, 1)
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

// What the harness cannot know, it does not decide.
func TestUndecided(t *testing.T) {
	f := func(id, reason string, edit func(*history.History)) {
		t.Helper()
		v := outcome(t, id, edit)
		assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
		assert.Contains(t, v.Reason, reason)
	}
	none := func(h *history.History) {
		h.Hits = func(func(history.Hit) bool) {}
		h.Arrivals = func(func(history.Arrival) bool) {}
	}
	for _, claim := range baseline(t).Claims {
		if baseline(t).Decides(claim) {
			f(claim.ID, "no request bears on it", none)
		}
	}
	few := func(h *history.History) {
		hits, arrivals := h.Hits, h.Arrivals
		h.Hits = func(yield func(history.Hit) bool) {
			hits(func(x history.Hit) bool { return x.Seq > 100 || yield(x) })
		}
		h.Arrivals = func(yield func(history.Arrival) bool) {
			arrivals(func(x history.Arrival) bool { return x.Seq > 100 || yield(x) })
		}
	}
	for _, claim := range baseline(t).Claims {
		if baseline(t).Decides(claim) && claim.Check != plan.CheckExpect { // it is about the requests that there were
			f(claim.ID, "observations that it needs", few)
		}
	}
	f("weights/backend", "how many workers", func(h *history.History) { h.Env.Workers = 0 })
	lost := func(h *history.History) { h.Env.Lost = []string{"back-01: the service was restarted"} }
	f("weights/backend", "ledger is not whole", lost)
	f("once/", "ledger is not whole", lost)
	f("endpoint/nginx-health", "ledger is not whole", lost)
	f("weights/backend", "unknown origin", func(h *history.History) {
		arrivals := h.Arrivals
		h.Arrivals = func(yield func(history.Arrival) bool) {
			if yield(history.Arrival{Server: "back-01"}) {
				arrivals(yield)
			}
		}
	})
	f("restarts/stack", "no container was inspected", func(h *history.History) { h.Env.Nodes = nil })
	f("restarts/stack", "ended before the traffic did", func(h *history.History) { h.Env.Nodes[1].Exit = "exit status 137" })
	f("restarts/stack", "was made to run out of memory on purpose", func(h *history.History) {
		h.Env.Nodes[1].OOMKilled = true
		h.Env.Marks = []history.Mark{{Event: plan.Event{Fault: plan.FaultMemory, Target: h.Env.Nodes[1].Name}}}
	})
	f("answered/", "the sender could not send", withErr(history.Tester))
}

// withErr makes every tenth proxied hit end with the error.
func withErr(kind history.Err) func(*history.History) {
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

// A slow tester never convicts the balancer: its timeouts count only while it keeps up.
func TestASaturatedSenderConvictsNobody(t *testing.T) {
	timeouts := withErr(history.Timeout)
	assert.Equal(t, report.Refuted, outcome(t, "answered/", timeouts).Outcome)
	busy := func(h *history.History) {
		timeouts(h)
		for i := range h.Env.Phases {
			h.Env.Phases[i].CPU = 2 * (h.Env.Phases[i].End - h.Env.Phases[i].Start)
		}
	}
	v := outcome(t, "answered/", busy)
	assert.Equal(t, report.Undecided, v.Outcome)
	assert.Contains(t, v.Reason, "the sender was saturated")
}

// One connection that is lost on its way to a server convicts nobody; two do, and so does one without an attempt, or one that arrived.
func TestALoneLostConnectionConvictsNobody(t *testing.T) {
	f := func(want report.Outcome, lost int, tried, arrived bool) {
		t.Helper()
		v := outcome(t, "answered/", func(h *history.History) {
			seqs, attempts := map[uint64]bool{}, []history.Attempt(nil)
			hits, arrivals := h.Hits, h.Arrivals
			var bent []history.Hit
			for x := range hits {
				if x.Server != "" && len(seqs) < lost {
					seqs[x.Seq] = true
					x.Code, x.Server = 502, ""
					if tried {
						attempts = append(attempts, history.Attempt{At: (x.Sent + x.Done) / 2, Node: "back-01", From: "10.0.0.9"})
					}
				}
				bent = append(bent, x)
			}
			h.Hits, h.Attempts = slices.Values(bent), slices.Values(attempts)
			h.Arrivals = func(yield func(history.Arrival) bool) {
				arrivals(func(a history.Arrival) bool { return seqs[a.Seq] && !arrived || yield(a) })
			}
		})
		assert.Equal(t, want, v.Outcome, v.Reason)
		assert.Equal(t, want == report.Undecided, strings.Contains(v.Reason, "a kernel resets a new connection now and then"))
	}
	f(report.Undecided, 1, true, false)
	f(report.Refuted, 2, true, false)
	f(report.Refuted, 1, false, false)
	f(report.Refuted, 1, true, true)
}

// A server that was left alone for an attempt that failed by itself convicts nobody, where nginx's log tells of the attempt; a log of
// refusals by a limit tells of none.
func TestAFailedAttemptInTheLogConvictsNobody(t *testing.T) {
	judged := func(logged string) report.Verdict {
		return outcome(t, "weights/backend", func(h *history.History) {
			*h = fixtures.Simulate(h.Plan, fixtures.Mutant{Weights: []int{1, 2, 2}}, 1)
			h.Env.Logged = []history.Logged{{Text: logged, Count: 1}}
		})
	}
	reset := "[error] recv() failed (104: Connection reset by peer) while reading response header from upstream"
	assert.Equal(t, report.Undecided, judged(reset).Outcome)
	assert.Contains(t, judged(reset).Reason, "attempts that failed")
	assert.Equal(t, report.Refuted, judged(`[error] limiting requests, excess: 30.640 by zone "tokens"`).Outcome)
}

func TestRepeatableRequestsMayBeSentAgain(t *testing.T) {
	again := func(h *history.History) {
		arrivals := h.Arrivals
		h.Arrivals = func(yield func(history.Arrival) bool) {
			arrivals(func(a history.Arrival) bool {
				probe := a.Seq <= uint64(h.Plan.Phases[0].Count) // probes are GET
				failed := a
				failed.Server = "back-09" // where the attempt before was
				return (!probe || yield(failed)) && yield(a)
			})
		}
	}
	v := outcome(t, "once/", again)
	assert.Equal(t, report.Undecided, v.Outcome)
	assert.Contains(t, v.Reason, "repeatable")
}

func TestUnreadableHistoryIsAnError(t *testing.T) {
	h := fixtures.Simulate(baseline(t), fixtures.Mutant{}, 1)
	h.Err = func() error { return errors.New("row 7 is cut off") }
	_, err := checks.Judge(h)
	assert.ErrorContains(t, err, "row 7")
}

func TestACrashIsUndecided(t *testing.T) {
	h := fixtures.Simulate(baseline(t), fixtures.Mutant{}, 1)
	h.Plan.Checks, h.Plan.Claims = nil, append(h.Plan.Claims, plan.Claim{ID: "x", Check: "no such check"})
	arrivals := 0
	whole := h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		if arrivals++; arrivals == 2 { // the first account is the report's own
			panic("boom")
		}
		whole(yield)
	}
	r, err := checks.Judge(h)
	require.NoError(t, err)
	assert.Equal(t, report.Undecided, r.Verdicts[0].Outcome)
	assert.Contains(t, r.Verdicts[0].Reason, "boom")
	assert.Equal(t, report.Untestable, r.Verdicts[len(r.Verdicts)-1].Outcome)
}

// Requests that reach no backend say nothing of how often they reach one.
func TestOnceNeedsArrivals(t *testing.T) {
	f := func(code int, want report.Outcome, reason string) {
		t.Helper()
		v := outcome(t, "once/", func(h *history.History) {
			hits := h.Hits
			h.Hits = func(yield func(history.Hit) bool) {
				hits(func(x history.Hit) bool {
					x.Code, x.Server = code, ""
					return yield(x)
				})
			}
			h.Arrivals = func(func(history.Arrival) bool) {}
		})
		assert.Equal(t, want, v.Outcome)
		assert.Contains(t, v.Reason, reason)
	}
	f(502, report.Undecided, "no request bears on it")
	f(404, report.Refuted, "answered 404 by the balancer itself")
}

// An answer that limits may refuse is no promise that every request gets it.
func TestLimitedEndpointConvictsNobody(t *testing.T) {
	v := outcome(t, "endpoint/nginx-health", func(h *history.History) {
		h.Plan.Config.Routes = slices.Clone(h.Plan.Config.Routes)
		for i := range h.Plan.Config.Routes {
			h.Plan.Config.Routes[i].Access = []model.Access{{From: "all"}}
		}
		hits := h.Hits
		h.Hits = func(yield func(history.Hit) bool) {
			hits(func(x history.Hit) bool {
				x.Code = 503
				return yield(x)
			})
		}
	})
	assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
}

// What the balancer asks on its own account, with the client's id, convicts nobody.
func TestSubrequestsConvictNobody(t *testing.T) {
	f := func(id string, edit func(*model.Route)) {
		t.Helper()
		v := outcome(t, id, func(h *history.History) {
			h.Plan.Config.Routes = slices.Clone(h.Plan.Config.Routes)
			edit(&h.Plan.Config.Routes[0])
			arrivals := h.Arrivals
			h.Arrivals = func(yield func(history.Arrival) bool) {
				arrivals(func(a history.Arrival) bool {
					return yield(a) && yield(history.Arrival{Seq: a.Seq, At: a.At, Server: "back-01"})
				})
			}
		})
		assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
		assert.Contains(t, v.Reason, "cannot tell those requests apart")
	}
	auth := func(r *model.Route) { r.Auth = &model.Auth{Pos: model.Pos{File: "f", Line: 1}, By: "/check"} }
	mirrored := func(r *model.Route) { r.Mirrors = []model.Share{{Pos: model.Pos{File: "f", Line: 2}, Pool: "/copy"}} }
	for _, id := range []string{"weights/backend", "once/", "headers/#Host"} {
		f(id, auth)
		f(id, mirrored)
	}
}

func TestDecide(t *testing.T) {
	f := func(finding check.Finding, want report.Outcome) {
		t.Helper()
		got := checks.Decide([]plan.Claim{{}}, []check.Finding{finding}, 0.001)
		assert.Equal(t, want, got[0].Outcome, got[0].Reason)
		assert.Equal(t, want != report.Upheld, got[0].Reason != "", "a reason is due unless upheld")
	}
	f(check.Finding{}, report.Undecided)
	f(check.Finding{N: 10, Need: 11}, report.Undecided)
	f(check.Finding{N: 11, Need: 11}, report.Upheld)
	f(check.Finding{N: 1, Need: 11, Counter: []string{"one is enough"}}, report.Refuted)
	f(check.Finding{N: 11, Broken: "the law does not apply"}, report.Undecided)
	f(check.Finding{N: 11, Cannot: "no way"}, report.Untestable)
	f(check.Finding{N: 11, Tested: true, P: 0.0009}, report.Refuted)
	f(check.Finding{N: 11, Tested: true, P: 0.0011}, report.Upheld)
	f(check.Finding{N: 10, Need: 11, Tested: true, P: 0.0009}, report.Undecided)
	f(check.Finding{N: 10, Need: 11, Tested: true, Anytime: true, P: 0.0009}, report.Refuted)
	f(check.Finding{N: 10, Need: 11, Tested: true, Anytime: true, P: 0.0011}, report.Undecided)
}

// One p-value of 0.0009 convicts alone, and does not among two.
func TestDecideCorrectsForTheFamily(t *testing.T) {
	one := check.Finding{N: 1, Tested: true, P: 0.0009}
	other := check.Finding{N: 1, Tested: true, P: 0.5}
	got := checks.Decide(make([]plan.Claim, 2), []check.Finding{one, other}, 0.001)
	assert.Equal(t, report.Upheld, got[0].Outcome)
	assert.InDelta(t, 0.0018, *got[0].P, 1e-9)
}

func BenchmarkJudge(b *testing.B) {
	pl := baseline(b)
	pl.Phases[1].Count = 100_000
	for b.Loop() {
		judge(b, pl, fixtures.Mutant{}, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pl.Requests()), "ns/request")
}

// Where servers do not take turns, one that is asked no more after its death may not have been out yet: nobody is convicted of
// having noticed too soon.
func TestDeathsAmongFewestConnections(t *testing.T) {
	pl, err := fixtures.FailurePlan(true)
	require.NoError(t, err)
	pl.Config.Pools[0].Method = "leastconn"
	h := fixtures.SimulateFailures(pl, fixtures.Failing{HAProxy: true}, 1)
	all := slices.Collect(h.Attempts)
	h.Attempts = func(yield func(history.Attempt) bool) {
		for _, a := range all {
			early := slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool { return a.At > m.From+time.Second && a.At < m.Ended })
			if !early && !yield(a) {
				return
			}
		}
	}
	r, err := checks.Judge(h)
	require.NoError(t, err)
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckActive {
			assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
		}
	}
}

// What a limit refuses was never with a server: it is no failure of a dead one, and no evidence of anything either.
func TestRefusedByALimitIsNoFailure(t *testing.T) {
	pl, err := fixtures.FailurePlan(false)
	require.NoError(t, err)
	for i := range pl.Config.Routes {
		pl.Config.Routes[i].Limits = []model.Limit{{Law: model.LeakyBucket, Status: 503}}
	}
	n := func(every int, code int) (outcome report.Outcome, n int) {
		h := fixtures.SimulateFailures(pl, fixtures.Failing{}, 1)
		hits := h.Hits
		h.Hits = func(yield func(history.Hit) bool) {
			for hit := range hits {
				if every > 0 && hit.Seq%uint64(every) == 0 {
					hit.Code, hit.Server = code, ""
				}
				if !yield(hit) {
					return
				}
			}
		}
		r, err := checks.Judge(h)
		require.NoError(t, err)
		for _, v := range r.Verdicts {
			if v.Claim.Check == plan.CheckRetries {
				return v.Outcome, v.N
			}
		}
		return 0, 0
	}
	_, all := n(0, 0)
	outcome, some := n(2, 503)
	assert.Equal(t, report.Upheld, outcome)
	assert.InDelta(t, float64(all)/2, some, 0.05*float64(all))
	for _, code := range []int{503, 404, 403} { // nor what the balancer answers by itself
		outcome, none := n(1, code)
		assert.Equal(t, report.Undecided, outcome)
		assert.Zero(t, none)
	}
}
