package failover_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
	"github.com/lbproof/lbproof/scenarios/checks/failover"
)

// A server that also authenticates its requests gets attempts of both kinds, which are equivalent with max_fails=1.
func TestOwnAuthService(t *testing.T) {
	f := func(fails int, spec string, known bool) {
		t.Helper()
		law := &model.Ejection{Rule: model.FailuresInWindow, MaxFails: fails, Duration: 10 * time.Second}
		cfg := model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}},
			Pools: []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}, Servers: []model.Server{{Host: "a", Port: 80, Ejection: law}, {Host: "b", Port: 80, Ejection: law}}}},
			Routes: []model.Route{
				{Path: "/api/", Port: 80, Pool: "p", Auth: &model.Auth{Kind: model.AuthRoute, Target: "/check", Pos: model.Pos{File: "f", Line: 1}}},
				{Path: "/check", Port: 80, Pool: "p", Exact: true, Internal: true},
			},
		}
		request := plan.Request{Path: "/api/", Port: 80, Header: map[string]string{history.ResponseSpecHeader: spec}}
		p := plan.Plan{Config: cfg, Phases: []plan.Phase{{Count: 1, Requests: []plan.Request{request}}}}
		claim := failover.Passive.Claims(cfg)[0]
		assert.Equal(t, known, failover.Passive.Evidence.WhyAmbiguous(p, claim) == "")
		assert.InDelta(t, 30, failover.Passive.Requirements(cfg, claim, check.DesignParams{CPUs: 1})[0].Phase.Rate, 0)
	}
	f(1, "note", true)
	f(1, "", false)
	f(3, "note", false)
}

// An answered authentication subrequest shows that a server was still up.
func TestAuthServiceIsUp(t *testing.T) {
	ejects := &model.Ejection{Rule: model.FailuresInWindow, MaxFails: 1, Duration: 10 * time.Second}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}},
		Pools: []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}, Servers: []model.Server{{Host: "a", Port: 80, Ejection: ejects}, {Host: "b", Port: 80, Ejection: ejects}}}},
		Routes: []model.Route{
			{Path: "/api/", Port: 80, Pool: "p", Auth: &model.Auth{Kind: model.AuthRoute, Target: "/check"}}, {Path: "/check", Port: 80, Pool: "p", Exact: true, Internal: true},
		},
	}
	request := plan.Request{Path: "/api/", Port: 80, Header: map[string]string{history.ResponseSpecHeader: "note"}}
	p := plan.Plan{
		Alpha: 1e-3, Beta: 1e-3, Config: cfg, Phases: []plan.Phase{{Kind: plan.KindOutages, Count: 100, Rate: 20, BurstLen: 16, Requests: []plan.Request{request}}},
		Claims: failover.Passive.Claims(cfg),
	}
	var hits []history.Hit
	for i := range 100 {
		at := time.Second + time.Duration(i)*50*time.Millisecond
		hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: at, Done: at + 5*time.Millisecond, Code: 200, Server: "b", Conn: 1})
	}
	kill := history.FaultWindow{
		Event: plan.Event{Fault: plan.FaultKill, Target: "a"}, RequestedAt: 1040 * time.Millisecond, StartsAfter: 1040 * time.Millisecond,
		StartsBy: 1120 * time.Millisecond, EndsAfter: 6 * time.Second, EndsBy: 6 * time.Second,
	}
	arrived := []history.Arrival{
		{Seq: hits[0].Seq, At: time.Second, Server: "a"},
		{Seq: hits[1].Seq, At: 1052 * time.Millisecond, Server: "a", Header: url.Values{history.PathField: {"/check"}}.Encode()},
	}
	attempts := []history.Attempt{{At: 1051 * time.Millisecond, Node: "a", SourceAddr: "nginx"}, {At: 1101 * time.Millisecond, Node: "a", SourceAddr: "nginx"}}
	r, err := checks.Judge(history.History{
		Plan: p, Env: history.Environment{Workers: 1, Faults: []history.FaultWindow{kill}, Phases: []history.Phase{{End: 7 * time.Second}}},
		Hits: slices.Values(hits), Arrivals: slices.Values(arrived), Attempts: slices.Values(attempts),
		HealthChecks: func(func(history.HealthCheck) bool) {}, Err: func() error { return nil },
	})
	require.NoError(t, err)
	assert.Equal(t, report.Undecided, r.Verdicts[0].Outcome, r.Verdicts[0].Reason)
}

// A backup that goes down with all others gets max_fails attempts from each worker, and one more per fail_timeout.
func TestBackupEjection(t *testing.T) {
	const workers, fails, claimed = 2, 3, 10 * time.Second
	ejects := &model.Ejection{Rule: model.FailuresInWindow, MaxFails: fails, Duration: claimed}
	other := &model.Ejection{Rule: model.FailuresInWindow, MaxFails: 5, Duration: 30 * time.Second}
	pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80, Ejection: other}, {Host: "b", Port: 80, Ejection: other}, {Host: "c", Port: 80, Backup: true, Ejection: ejects}}}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
	}
	claim := plan.Claim{ID: check.ClaimID(plan.CheckPassive, "p", "c"), Check: "passive", Subject: "p"}
	reqs := failover.Passive.Requirements(cfg, claim, check.DesignParams{})
	assert.Equal(t, []string{"a", "b", "c"}, reqs[0].AllDown)
	lasts := reqs[0].AllDownFor
	pool.Servers[2].Ejection = &model.Ejection{Rule: model.FailuresInWindow, MaxFails: 1, Duration: claimed}
	for cpus, want := range map[int]time.Duration{1: 24 * time.Second, 2: 13 * time.Second, 16: 13 * time.Second} { // at least three attempts
		auto := model.Config{Balancer: "nginx", Workers: model.Workers{Auto: true}, Routes: cfg.Routes, Listeners: cfg.Listeners, Pools: []model.Pool{pool}}
		assert.Equal(t, want, failover.Passive.Requirements(auto, claim, check.DesignParams{CPUs: cpus})[0].AllDownFor)
	}
	pool.Servers[2].Ejection = ejects

	// Each worker makes first attempts, and one more after each ejection of length out.
	f := func(first int, out, down time.Duration, outcome report.Outcome, reason string, stalls ...time.Duration) {
		t.Helper()
		p := plan.Plan{Alpha: 1e-3, Beta: 1e-3, Config: cfg, Phases: []plan.Phase{{Kind: plan.KindAllDown, Count: 1000, Rate: 50, Requests: []plan.Request{{Path: "/", Port: 80}}}}}
		var attempts []history.Attempt
		for worker := range workers {
			at, times := time.Second+time.Duration(worker)*100*time.Millisecond, first
			for at < time.Second+down {
				for range times {
					attempts = append(attempts, history.Attempt{At: at, Node: "c", SourceAddr: "nginx", Port: 80})
					at += 40 * time.Millisecond
				}
				times, at = 1, at+out+500*time.Millisecond
			}
		}
		var hits []history.Hit
		send := func(at, lasts time.Duration) {
			hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(len(hits)), Index: len(hits), Sent: at, Done: at + lasts, Code: 502})
		}
		for _, a := range attempts {
			send(a.At-time.Millisecond, 2*time.Millisecond)
		}
		for _, at := range stalls {
			send(at, time.Second)
		}
		slices.SortFunc(attempts, func(a, b history.Attempt) int { return int(a.At - b.At) })
		h := history.History{
			Plan: p, Attempts: slices.Values(attempts), Hits: slices.Values(hits), Arrivals: func(func(history.Arrival) bool) {},
			Env: history.Environment{Workers: workers, Phases: []history.Phase{{End: time.Minute}}},
		}
		for _, host := range reqs[0].AllDown {
			h.Env.Faults = append(h.Env.Faults, history.FaultWindow{
				Event: plan.Event{Fault: plan.FaultKill, Target: host}, RequestedAt: time.Second, StartsAfter: time.Second - 1, StartsBy: time.Second, EndsAfter: time.Second + down, EndsBy: time.Second + down,
			})
		}
		got, why := checkstest.Decide(failover.Passive.Judge(claim, h), p.Alpha)
		assert.Equal(t, outcome, got, why)
		assert.Contains(t, why, reason)
	}
	f(fails, claimed, lasts, report.Upheld, "")
	f(1, claimed, lasts, report.Refuted, "was ejected after only 2 attempts (max_fails=3 per instance)")
	f(fails, claimed, 5*time.Second, report.Undecided, "no backup was down long enough")
	f(fails, 2*claimed, lasts, report.Refuted, "got no requests for")
	f(fails, claimed/4, lasts, report.Refuted, "of them within 10 s")
	f(fails, -450*time.Millisecond, lasts, report.Refuted, "of them within 10 s")
	f(4*fails, claimed, lasts, report.Refuted, "of them within 10 s")
	f(4*fails, claimed, lasts, report.Upheld, "", 900*time.Millisecond) // all were in flight at the first attempt
}
