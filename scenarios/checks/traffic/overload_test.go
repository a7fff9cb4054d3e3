package traffic

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// The peak equals the maximum found by counting at the start of every span.
func TestInFlight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, scale := range []time.Duration{time.Second, time.Hour} {
		var o inFlight
		var spans [][2]time.Duration
		for range 300 {
			from := time.Duration(r.Int64N(int64(scale)))
			spans = append(spans, [2]time.Duration{from, from + time.Duration(r.Int64N(int64(scale/10)))})
			o.add(spans[len(spans)-1][0], spans[len(spans)-1][1])
		}
		want := 0
		for _, a := range spans {
			n := 0
			for _, b := range spans {
				if b[0] <= a[0] && a[0] <= b[1] {
					n++
				}
			}
			want = max(want, n)
		}
		assert.InDelta(t, want, o.peak(), 1)
		assert.Less(t, len(o.delta), maxCells+1)
	}
}

func TestOverloadIsExplained(t *testing.T) {
	h := history.History{
		Plan: plan.Plan{Phases: []plan.Phase{{Name: "spike"}}, Config: model.Config{Workers: model.Workers{Connections: 100, ConnectionsPos: model.Pos{File: "nginx.conf", Line: 5}}}},
		Env:  history.Environment{Workers: 2},
		Hits: func(yield func(history.Hit) bool) {
			for i := range 500 {
				h := history.Hit{InFlight: i + 1, Sent: 0, Done: time.Second, Code: 200}
				if i >= 98 {
					h.Code, h.Err = 0, history.Closed
				}
				if !yield(h) {
					return
				}
			}
		},
	}
	h.Plan.Config.Dialect.Log.NoConnections = "worker_connections"
	h.Env.LogEntries = []history.LogEntry{{Text: "[alert] 100 worker_connections are not enough", Count: 402}}
	assert.Equal(t, "in phase spike up to 500 requests were in flight; they failed from 500 on, and at most 98 succeeded concurrently: by nginx.conf:5 a worker has "+
		"100 connections and a proxied request takes two, so 50 in each of 2 workers; the balancer's log confirms it: 402 × [alert] 100 worker_connections are not enough", explainOverload(h, 0))
	h.Plan.Config.Workers.Connections = 1000
	assert.Empty(t, explainOverload(h, 0))
}
