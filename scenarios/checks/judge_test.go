package checks_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
	"github.com/lbproof/lbproof/scenarios/checks/failover"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
	"github.com/lbproof/lbproof/scenarios/checks/traffic"
)

// A claim that the scenario does not evaluate is listed as undecided, whatever its check could say, and does not affect
// the exit code.
func TestNotEvaluated(t *testing.T) {
	h := fixtures.Simulate(checkstest.Baseline(t), fixtures.Mutants[0], 1) // with wrong weights
	h.Plan.Checks = []plan.Check{plan.CheckAnswered}
	r, err := checks.Judge(h)
	require.NoError(t, err)
	assert.Zero(t, r.ExitCode())
	assert.Equal(t, 1, r.Count(report.Upheld))
	assert.Equal(t, len(h.Plan.Claims)-1, r.NotEvaluated())
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckWeights {
			assert.Equal(t, report.Undecided, v.Outcome)
			assert.Equal(t, "not evaluated by scenario baseline", v.Reason)
		}
	}
}

// Missing data leaves a claim undecided.
func TestUndecided(t *testing.T) {
	f := func(id, reason string, edit func(*history.History)) {
		t.Helper()
		v := checkstest.Outcome(t, id, edit)
		assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
		assert.Contains(t, v.Reason, reason)
	}
	none := func(h *history.History) {
		h.Hits = func(func(history.Hit) bool) {}
		h.Arrivals = func(func(history.Arrival) bool) {}
	}
	for _, claim := range checkstest.Baseline(t).Claims {
		if checkstest.Baseline(t).Decides(claim) {
			f(claim.ID, "no relevant requests", none)
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
	for _, claim := range checkstest.Baseline(t).Claims {
		if checkstest.Baseline(t).Decides(claim) && claim.Check != plan.CheckExpect { // it counts the requests that were sent
			f(claim.ID, "observations needed", few)
		}
	}
	f("weights/backend", "number of workers", func(h *history.History) { h.Env.Workers = 0 })
	lost := func(h *history.History) { h.Env.LedgerGaps = []string{"back-01: the service was restarted"} }
	f("weights/backend", "incomplete ledger", lost)
	f("once/", "incomplete ledger", lost)
	f("endpoint/nginx-health", "incomplete ledger", lost)
	f("weights/backend", "unknown origin", func(h *history.History) {
		arrivals := h.Arrivals
		h.Arrivals = func(yield func(history.Arrival) bool) {
			if yield(history.Arrival{Server: "back-01"}) {
				arrivals(yield)
			}
		}
	})
	f("restarts/stack", "no container was inspected", func(h *history.History) { h.Env.Nodes = nil })
	f("restarts/stack", "exited before the end of the traffic",
		func(h *history.History) { h.Env.Nodes[1].Exit = "exit status 137" })
	f("restarts/stack", "a fault exhausted the memory of back-01", func(h *history.History) {
		h.Env.Nodes[1].OOMKilled = true
		h.Env.Faults = []history.FaultWindow{{Event: plan.Event{Fault: plan.FaultMemory, Target: h.Env.Nodes[1].Name}}}
	})
	f("answered/", "the load generator could not send", checkstest.WithErr(history.Tester))
}

// A failed attempt in nginx's log prevents a refutation, because nginx may have ejected the server; a rate limit's log
// entry does not.
func TestLoggedFailureRefutesNothing(t *testing.T) {
	judged := func(logged string) report.Verdict {
		return checkstest.Outcome(t, "weights/backend", func(h *history.History) {
			*h = fixtures.Simulate(h.Plan, fixtures.Mutant{Weights: []int{1, 2, 2}}, 1)
			h.Env.LogEntries = []history.LogEntry{{Text: logged, Count: 1}}
		})
	}
	reset := "[error] recv() failed (104: Connection reset by peer) while reading response header from upstream"
	assert.Equal(t, report.Undecided, judged(reset).Outcome)
	assert.Contains(t, judged(reset).Reason, "failed attempts")
	assert.Equal(t, report.Refuted, judged(`[error] limiting requests, excess: 30.640 by zone "tokens"`).Outcome)
}

// Subrequests of the balancer that carry the client's request ID refute nothing.
func TestSubrequestsRefuteNothing(t *testing.T) {
	f := func(id string, edit func(*model.Route)) {
		t.Helper()
		v := checkstest.Outcome(t, id, func(h *history.History) {
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
		assert.Contains(t, v.Reason, "cannot distinguish them")
	}
	auth := func(r *model.Route) {
		r.Auth = &model.Auth{Pos: model.Pos{File: "f", Line: 1}, Kind: model.AuthRoute, Target: "/check"}
	}
	mirrored := func(r *model.Route) { r.Mirrors = []model.Share{{Pos: model.Pos{File: "f", Line: 2}, Pool: "/copy"}} }
	for _, id := range []string{"weights/backend", "once/", "headers/#Host"} {
		f(id, auth)
		f(id, mirrored)
	}
}

func TestUnreadableHistoryIsAnError(t *testing.T) {
	h := fixtures.Simulate(checkstest.Baseline(t), fixtures.Mutant{}, 1)
	h.Err = func() error { return errors.New("row 7 is cut off") }
	_, err := checks.Judge(h)
	assert.ErrorContains(t, err, "row 7")
}

func TestCrashIsUndecided(t *testing.T) {
	h := fixtures.Simulate(checkstest.Baseline(t), fixtures.Mutant{}, 1)
	h.Plan.Checks, h.Plan.Claims = nil, append(h.Plan.Claims, plan.Claim{ID: "x", Check: "no such check"})
	arrivals := 0
	whole := h.Arrivals
	h.Arrivals = func(yield func(history.Arrival) bool) {
		if arrivals++; arrivals == 2 { // the first pass is for the report's own delivery check
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

// A pool without a server that can answer is untestable, whatever the faults.
func TestPoolWithoutServers(t *testing.T) {
	f := func(cannot string, servers ...model.Server) {
		t.Helper()
		route := model.Route{Path: "/", Port: 80, Pool: "p"}
		h := history.History{
			Hits: func(func(history.Hit) bool) {}, Arrivals: func(func(history.Arrival) bool) {},
			Attempts: func(func(history.Attempt) bool) {},
			Plan: plan.Plan{Config: model.Config{
				Pools:  []model.Pool{{Name: "p", Servers: servers}},
				Routes: []model.Route{route},
			}},
		}
		assert.Equal(t, cannot, traffic.Once.Judge(plan.Claim{Subject: route.Key()}, h).Untestable)
		assert.Equal(t, cannot, failover.Reload.Judge(plan.Claim{}, h).Untestable)
	}
	f(outage.NoServerUp, model.Server{Host: "a", Down: true})
	f(outage.NoServerUp, model.Server{Host: "a", Drain: true}, model.Server{Host: "b", Down: true})
	f("", model.Server{Host: "a", Down: true}, model.Server{Host: "b", Backup: true})
	f("", model.Server{Host: "a"})
}

func BenchmarkJudge(b *testing.B) {
	pl := checkstest.Baseline(b)
	pl.Phases[1].Count = 100_000
	for b.Loop() {
		judge(b, pl, fixtures.Mutant{}, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pl.RequestCount()), "ns/request")
}
