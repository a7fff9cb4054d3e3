package run

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// Where clients reach a backend directly there is no balancer to blame: worker, ledger and judges convict nobody.
func TestNullRuns(t *testing.T) {
	runs := 20
	if testing.Short() {
		runs = 2
	}
	for range runs {
		host, port, ledgers := site(t)
		cfg := lb.Config{
			Balancer: "nginx", Files: []lb.File{lb.NewFile("nginx.conf", nil)}, Workers: lb.Workers{Count: 1},
			Listeners: []lb.Listener{{Port: port}},
			Pools:     []lb.Pool{{Name: "direct", Method: lb.RoundRobin, SharedState: true, Servers: []lb.Server{{Host: "b1", Port: port, Weight: 1}}}},
			Routes:    []lb.Route{{Path: "/", Port: port, Pool: "direct"}},
		}
		get := lb.Request{Method: "GET", Port: port, Path: "/"}
		post := lb.Request{Method: "POST", Port: port, Path: "/models", Body: lb.Bytes(`{"name": "x"}`), Claim: "answered/"} // refused, as it should be
		plan := lb.Plan{Alpha: 0.001, Beta: 0.001, Config: cfg, Claims: checks.Claims(cfg), Loads: []lb.Load{
			{Name: "closed", Engine: lb.Epoll, Count: 700, Concurrency: 16, Timeout: 10 * time.Second, Requests: []lb.Request{get, post}},
			{Name: "open", Engine: lb.Goroutines, Count: 300, Rate: 1500, Concurrency: 64, Timeout: 10 * time.Second, Requests: []lb.Request{get}},
			{Name: "fresh", Engine: lb.Goroutines, Count: 100, Concurrency: 4, Fresh: true, Timeout: 10 * time.Second, Requests: []lb.Request{get}},
		}}
		o := hire(t)
		require.NoError(t, o.orders.Encode(order{Loads: plan.Loads, Balancer: host, Ports: []int{port}, Ledgers: ledgers}))
		var ready report
		require.NoError(t, o.reports.Decode(&ready))
		require.True(t, ready.Ready, ready.Err)
		require.NoError(t, o.orders.Encode(order{Go: true}))
		hits, arrivals, phases, last := o.all(t)
		o.hangUp()
		require.NoError(t, <-o.done)
		verdicts, err := checks.Judge(lb.History{
			Plan: plan, Env: lb.Environment{Workers: 1, CPUs: 2, Phases: phases, Lost: last.Lost}, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals),
			Samples: func(func(lb.Sample) bool) {}, Attempts: func(func(lb.Attempt) bool) {}, Err: func() error { return nil },
		})
		require.NoError(t, err)
		for _, v := range verdicts.Verdicts {
			assert.NotEqual(t, lb.Refuted, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
		}
		assert.Equal(t, 2, verdicts.Count(lb.Upheld), "answered and once")
		assert.Equal(t, lb.Ledger{Sent: len(hits), Arrived: len(hits)}, verdicts.Ledger)
	}
}
