package checks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// A request that waits for its next attempt when a server is found dead is no evidence that it was found dead late.
func TestTriedAgain(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	f := func(method string, retry model.Retry, last float64, refuted bool) {
		t.Helper()
		a := model.Active{Interval: second(10), Fast: second(10), Slow: second(10), Fall: 2, Rise: 1}
		pool := model.Pool{Name: "p", Method: method, Servers: []model.Server{{Host: "a", Active: &a}, {Host: "b", Active: &a}}}
		cfg := model.Config{Balancer: "haproxy", Pools: []model.Pool{pool}, Routes: []model.Route{{Pool: "p", Retry: &retry}}}
		mark := history.Mark{Event: plan.Event{Target: "a"}, Ordered: second(1), From: second(1), Ended: second(24), To: second(24)}
		e := &episode{server: pool.Servers[0], mark: mark, alive: second(0.9), served: second(0.9), rate: 50, next: second(60), back: second(30)}
		for _, at := range []float64{last - 0.04, last - 0.02, last} {
			e.attempts = append(e.attempts, second(at))
		}
		d := detection{again: triedAgain(cfg, pool)}
		d.see(e)
		assert.Equal(t, refuted, d.wrong.total > 0, d.wrong.list())
		assert.Equal(t, 1, d.n)
	}
	waits := model.Retry{Attempts: 4, Wait: time.Second}
	f("source", waits, 21.9, false)
	f("source", waits, 22.1, true)
	f("source", model.Retry{Attempts: 1, Wait: time.Second}, 21.9, true)
	f("roundrobin", waits, 21.9, false)
	waits.Elsewhere = true
	f("roundrobin", waits, 21.9, true) // it goes to another one at once
	f("leastconn", waits, 21.9, false)
}
