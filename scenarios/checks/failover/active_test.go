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

// A request that waits for its next attempt when a server is found dead is no evidence that it was found dead late.
func TestTriedAgain(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	f := func(kind model.BalanceKind, retry model.Retry, last float64, refuted bool) {
		t.Helper()
		a := model.Active{Interval: second(10), Fast: second(10), Slow: second(10), Fall: 2, Rise: 1}
		pool := model.Pool{Name: "p", Balance: model.Balance{Kind: kind}, Servers: []model.Server{{Host: "a", Active: &a}, {Host: "b", Active: &a}}}
		cfg := model.Config{Pools: []model.Pool{pool}, Routes: []model.Route{{Pool: "p", Retry: &retry}}}
		mark := history.Mark{Event: plan.Event{Target: "a"}, Ordered: second(1), From: second(1), Ended: second(24), To: second(24)}
		e := &outage.Episode{Server: pool.Servers[0], Mark: mark, Alive: second(0.9), Served: second(0.9), Rate: 50, Next: second(60), Back: second(30)}
		for _, at := range []float64{last - 0.04, last - 0.02, last} {
			e.Attempts = append(e.Attempts, second(at))
		}
		d := detection{again: triedAgain(cfg, pool)}
		d.see(e)
		assert.Equal(t, refuted, d.wrong.Total > 0, d.wrong.List())
		assert.Equal(t, 1, d.n)
	}
	waits := model.Retry{Attempts: 4, Wait: model.FixedWait, Each: time.Second, Next: model.NextSame}
	once := waits
	once.Attempts = 1
	f(model.ByHash, waits, 21.9, false)
	f(model.ByHash, waits, 22.1, true)
	f(model.ByHash, once, 21.9, true)
	f(model.RoundRobin, waits, 21.9, false)
	waits.Next = model.NextAtLast
	f(model.RoundRobin, waits, 21.9, true) // it goes to another one at once
	f(model.LeastConnections, waits, 21.9, false)
}

// Where other pools' servers die and these would take too long, the report says how to have them die.
func TestLeftOut(t *testing.T) {
	f := func(want bool, chosen []plan.Check, dies ...string) {
		t.Helper()
		p := plan.Plan{Checks: chosen, Phases: []plan.Phase{{Kind: plan.KindDeaths}}}
		for _, host := range dies {
			p.Events = append(p.Events, plan.Event{Fault: plan.FaultKill, Target: host})
		}
		assert.Equal(t, want, leftOut(p, model.Pool{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}))
	}
	f(true, nil, "c")
	f(false, nil, "c", "b")
	f(false, []plan.Check{plan.CheckActive}, "c") // that has been tried
}
