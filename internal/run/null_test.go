package run

import (
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
)

// Without a balancer between clients and backend, worker, ledger and checks refute nothing.
func TestNullRuns(t *testing.T) {
	runs := 20
	if testing.Short() {
		runs = 2
	}
	for range runs {
		host, port, ledgers := site(t)
		cfg := model.Config{
			Balancer: "nginx", Files: []model.File{model.NewFile("nginx.conf", nil)}, Workers: model.Workers{Count: 1},
			Listeners: []model.Listener{{Port: port}},
			Pools:     []model.Pool{{Name: "direct", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}, SharedState: true, Servers: []model.Server{{Host: "b1", Port: port, Weight: 1}}}},
			Routes:    []model.Route{{Path: "/", Port: port, Pool: "direct"}},
		}
		get := plan.Request{Method: "GET", Port: port, Path: "/"}
		post := plan.Request{Method: "POST", Port: port, Path: "/models", Body: model.Bytes(`{"name": "x"}`), Claim: "answered/"} // refused, as expected
		p := plan.Plan{Alpha: 0.001, Beta: 0.001, Config: cfg, Claims: checks.Claims(cfg), Phases: []plan.Phase{
			{Name: "closed", Engine: plan.Epoll, Count: 700, Concurrency: 16, Timeout: 10 * time.Second, Requests: []plan.Request{get, post}},
			{Name: "open", Engine: plan.Goroutines, Count: 300, Rate: 1500, Concurrency: 64, Timeout: 10 * time.Second, Requests: []plan.Request{get}},
			{Name: "fresh", Engine: plan.Goroutines, Count: 100, Concurrency: 4, NewConnections: true, Timeout: 10 * time.Second, Requests: []plan.Request{get}},
		}}
		o := startWorker(t)
		require.NoError(t, o.requests.Encode(workerRequest{Phases: p.Phases, Balancer: host, Ports: []int{port}, Ledgers: ledgers}))
		var ready workerEvent
		require.NoError(t, o.events.Decode(&ready))
		require.True(t, ready.Ready, ready.Err)
		require.NoError(t, o.requests.Encode(workerRequest{Go: true}))
		hits, arrivals, phases, last := o.all(t)
		o.disconnect()
		require.NoError(t, <-o.done)
		verdicts, err := checks.Judge(history.History{
			Plan: p, Env: history.Environment{Workers: 1, CPUs: 2, Phases: phases, LedgerGaps: last.LedgerGaps}, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals),
			Samples: func(func(history.Sample) bool) {}, Attempts: func(func(history.Attempt) bool) {}, Err: func() error { return nil },
		})
		require.NoError(t, err)
		for _, v := range verdicts.Verdicts {
			assert.NotEqual(t, report.Refuted, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
		}
		assert.Equal(t, 2, verdicts.Count(report.Upheld), "answered and once")
		assert.Equal(t, report.Delivery{Sent: len(hits), Arrived: len(hits)}, verdicts.Delivery)
	}
}
