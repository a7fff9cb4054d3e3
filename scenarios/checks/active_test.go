package checks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/lb"
)

// A request that waits for its next attempt when a server is found dead is no evidence that it was found dead late.
func TestTriedAgain(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	f := func(method string, retry lb.Retry, last float64, refuted bool) {
		t.Helper()
		a := lb.Active{Interval: second(10), Fast: second(10), Slow: second(10), Fall: 2, Rise: 1}
		pool := lb.Pool{Name: "p", Method: method, Servers: []lb.Server{{Host: "a", Active: &a}, {Host: "b", Active: &a}}}
		cfg := lb.Config{Balancer: "haproxy", Pools: []lb.Pool{pool}, Routes: []lb.Route{{Pool: "p", Retry: &retry}}}
		mark := lb.Mark{Event: lb.Event{Target: "a"}, Ordered: second(1), From: second(1), Ended: second(24), To: second(24)}
		e := &episode{server: pool.Servers[0], mark: mark, alive: second(0.9), served: second(0.9), rate: 50, next: second(60), back: second(30)}
		for _, at := range []float64{last - 0.04, last - 0.02, last} {
			e.attempts = append(e.attempts, second(at))
		}
		d := detection{again: triedAgain(cfg, pool)}
		d.see(e)
		assert.Equal(t, refuted, d.wrong.total > 0, d.wrong.list())
		assert.Equal(t, 1, d.n)
	}
	waits := lb.Retry{Attempts: 4, Wait: time.Second}
	f("source", waits, 21.9, false)
	f("source", waits, 22.1, true)
	f("source", lb.Retry{Attempts: 1, Wait: time.Second}, 21.9, true)
	f("roundrobin", waits, 21.9, false)
	waits.Elsewhere = true
	f("roundrobin", waits, 21.9, true) // it goes to another one at once
	f("leastconn", waits, 21.9, false)
}
