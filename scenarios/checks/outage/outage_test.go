package outage

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Requests in flight during an attempt may go to the same server before its failure counts.
func TestIndependentAttempts(t *testing.T) {
	const ms = time.Millisecond
	type request struct{ sent, done time.Duration }
	f := func(want, attempts []time.Duration, requests ...request) {
		t.Helper()
		p := plan.Plan{Phases: []plan.Phase{{Count: len(requests), Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
			Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}},
		}}
		var hits []history.Hit
		for i, r := range requests {
			hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: r.sent, Done: r.done, Code: 200, Server: "b"})
		}
		e := &Outage{Attempts: attempts, End: time.Second}
		assert.Equal(t, want, e.IndependentAttempts(history.History{Plan: p, Hits: slices.Values(hits)}, "p"))
		assert.Empty(t, e.IndependentAttempts(history.History{Plan: p, Hits: slices.Values(hits)}, "another"))
	}
	two := []time.Duration{10 * ms, 30 * ms}
	f(two, two, request{9 * ms, 11 * ms}, request{29 * ms, 31 * ms})
	f(two, two, request{9 * ms, 25 * ms}, request{20 * ms, 40 * ms})                     // the second was sent after the first failed
	f(two[:1], two, request{9 * ms, 32 * ms}, request{29 * ms, 32 * ms})                 // the first may have caused both
	f(two[:1], two, request{8 * ms, 11 * ms}, request{9 * ms, 32 * ms})                  // the second was in flight when the first failed
	f(two[:1], two, request{9 * ms, 11 * ms}, request{10*ms + refusalNotice/2, 32 * ms}) // or almost
	f(two, two, request{9 * ms, 11 * ms}, request{10*ms + 2*refusalNotice, 32 * ms})
}

// Attempts on a server of two pools are attributed by the requests in flight.
func TestAttemptsOfSharedServers(t *testing.T) {
	route := func(path, pool string) model.Route {
		return model.Route{Path: path, Port: 80, Pool: pool, DefaultHost: true}
	}
	p := plan.Plan{
		Config: model.Config{Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{route("/a", "a"), route("/b", "b")}},
		Phases: []plan.Phase{{Count: 8, BurstLen: 2, Requests: []plan.Request{{Path: "/a", Port: 80}, {Path: "/b", Port: 80}}}},
	}
	f := func(want []time.Duration, ok bool, attempts ...time.Duration) {
		t.Helper()
		h := history.History{Plan: p, Hits: func(yield func(history.Hit) bool) {
			for i := range 8 {
				at := time.Duration(i) * time.Second
				if !yield(history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: at, Done: at + 1100*time.Millisecond}) {
					return
				}
			}
		}}
		e := Outage{Attempts: attempts, End: time.Minute}
		assert.Equal(t, ok, e.KeepAttemptsFor(h, "a"))
		if ok {
			assert.Equal(t, want, e.Attempts)
		}
	}
	ms := time.Millisecond
	f([]time.Duration{500 * ms, 4500 * ms}, true, 500*ms, 2500*ms, 4500*ms) // bursts: /a /a /b /b /a /a …
	f(nil, false, 500*ms, 2050*ms)                                          // requests of both in flight
}
