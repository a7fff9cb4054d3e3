package failover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// A request that waits for its next attempt when a server is taken out is no evidence of late detection.
func TestRetryAfterDetection(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	f := func(kind model.BalanceKind, retry model.Retry, last float64, refuted bool) {
		t.Helper()
		a := model.HealthCheck{Interval: second(10), FastInterval: second(10), DownInterval: second(10), Fall: 2, Rise: 1}
		pool := model.Pool{Name: "p", Balance: model.Balance{Kind: kind}, Servers: []model.Server{{Host: "a", HealthCheck: &a}, {Host: "b", HealthCheck: &a}}}
		cfg := model.Config{Pools: []model.Pool{pool}, Routes: []model.Route{{Pool: "p", Retry: &retry}}}
		mark := history.FaultWindow{Event: plan.Event{Target: "a"}, RequestedAt: second(1), StartsBy: second(1), EndsAfter: second(24), EndsBy: second(24)}
		e := &outage.Outage{Server: pool.Servers[0], Fault: mark, LastAlive: second(0.9), LastArrival: second(0.9), Rate: 50, End: second(60), ReturnedAt: second(30)}
		for _, at := range []float64{last - 0.04, last - 0.02, last} {
			e.Attempts = append(e.Attempts, second(at))
		}
		d := detection{retryWait: sameServerRetryWait(cfg, pool)}
		d.addOutage(e)
		assert.Equal(t, refuted, d.wrong.Total > 0, d.wrong.List())
		assert.Equal(t, 1, d.outages)
	}
	waits := model.Retry{Attempts: 4, Backoff: model.FixedBackoff, Delay: time.Second, Next: model.NextSame}
	once := waits
	once.Attempts = 1
	f(model.ByHash, waits, 21.9, false)
	f(model.ByHash, waits, 22.1, true)
	f(model.ByHash, once, 21.9, true)
	f(model.RoundRobin, waits, 21.9, false)
	waits.Next = model.NextOtherOnLast
	f(model.RoundRobin, waits, 21.9, true) // it goes elsewhere at once
	f(model.LeastConnections, waits, 21.9, false)
}

// If a plan has outages of other pools only, the report tells how to get them for this one.
func TestIsLeftOut(t *testing.T) {
	f := func(want bool, chosen []plan.Check, down ...string) {
		t.Helper()
		p := plan.Plan{Checks: chosen, Phases: []plan.Phase{{Kind: plan.KindOutages}}}
		for _, host := range down {
			p.Events = append(p.Events, plan.Event{Fault: plan.FaultKill, Target: host})
		}
		assert.Equal(t, want, isLeftOut(p, model.Pool{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}))
	}
	f(true, nil, "c")
	f(false, nil, "c", "b")
	f(false, []plan.Check{plan.CheckActive}, "c") // already requested
}
