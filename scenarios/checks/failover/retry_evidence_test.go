package failover

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// historyWithOutage returns a history in which the first of two servers is down from 1 s to 11 s, at 40 requests per
// second. The first failed requests of the outage fail.
func historyWithOutage(retry *model.Retry, active *model.HealthCheck, failed int) history.History {
	const rate, from, ended = 40, time.Second, 11 * time.Second
	p := plan.Plan{
		Alpha: 1e-3, Beta: 1e-3,
		Config: model.Config{
			Listeners: []model.Listener{{Port: 80}},
			Routes:    []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true, Retry: retry}},
			Pools:     []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin}, Servers: []model.Server{{Host: "a", HealthCheck: active}, {Host: "b"}}}},
		},
		Phases: []plan.Phase{{Kind: plan.KindOutages, Rate: rate, Count: 12 * rate, Requests: []plan.Request{{Method: "GET", Path: "/", Port: 80}}}},
		Events: []plan.Event{{Fault: plan.FaultKill, Target: "a"}},
	}
	var hits []history.Hit
	for i := range 12 * rate {
		at := time.Duration(i) * time.Second / rate
		hit := history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: at, Done: at + time.Millisecond, Code: 200, Server: "b"}
		if down := at >= from && at <= ended; down && failed > 0 {
			hit.Code, hit.Server = 502, ""
			failed--
		}
		hits = append(hits, hit)
	}
	return history.History{
		Plan: p, Hits: slices.Values(hits),
		Arrivals: slices.Values([]history.Arrival(nil)), Attempts: slices.Values([]history.Attempt(nil)),
		Env: history.Environment{
			Workers: 1, Phases: []history.Phase{{End: 12 * time.Second}},
			Faults: []history.FaultWindow{{Event: p.Events[0], RequestedAt: from, StartsAfter: from, StartsBy: from, EndsAfter: ended, EndsBy: ended}},
		},
	}
}

// If requests are retried elsewhere, one failed request refutes; if not, the server's share of the requests until its
// health checks fail does: half of 40 per second for 2 to 4 s.
func TestJudgeRetries(t *testing.T) {
	other := &model.Retry{Failures: model.Failures{Causes: []model.Cause{model.CauseConnect}}, Attempts: 3, Next: model.NextOther}
	once := &model.Retry{Attempts: 1}
	active := &model.HealthCheck{Interval: 2 * time.Second, FastInterval: 2 * time.Second, DownInterval: 2 * time.Second, Fall: 2, Rise: 1}
	f := func(retry *model.Retry, active *model.HealthCheck, failed int, predicted, broken string, counter ...string) {
		t.Helper()
		h := historyWithOutage(retry, active, failed)
		claims := retryClaims(h.Plan.Config)
		got := judgeRetries(claims[0], h)
		assert.Equal(t, predicted, got.Predicted)
		assert.Equal(t, broken, got.Inconclusive)
		assert.Equal(t, counter, got.CounterExamples)
		assert.Equal(t, 401, got.N)
	}
	f(other, nil, 0, "0 failed", "")
	f(other, nil, 1, "0 failed", "", "request 41 (GET /), sent 0.00 s after a went down, failed: status 502")
	f(once, nil, 10, "0 failed", check.NoExperiment+": it is unknown how long a server that is down gets requests")
	const predicted = "21–112 failed" // both ends of the Poisson law for 40 and 81
	const share = "; the servers' share of the requests until detection is 21–112"
	f(once, active, 60, predicted, "")
	f(once, active, 20, predicted, "", "20 requests failed"+share)
	f(once, active, 113, predicted, "", "113 requests failed"+share)
}

// What no history can decide is untestable.
func TestRetriesThatCannotBeJudged(t *testing.T) {
	h := historyWithOutage(&model.Retry{Attempts: 1}, nil, 0)
	assert.NotEmpty(t, judgeRetries(plan.Claim{Subject: "/another"}, h).Untestable)
	claim := retryClaims(h.Plan.Config)[0]
	h.Plan.Config.Pools = nil
	assert.NotEmpty(t, judgeRetries(claim, h).Untestable)
}
