package traffic

import (
	"fmt"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// connected returns a history of requests to a pool of two servers in turn; each connection serves each requests.
func connected(k model.Keepalive, requests, each int) history.History {
	servers := []model.Server{{Host: "a", Port: 80, Weight: 1}, {Host: "b", Port: 80, Weight: 1}}
	request := plan.Request{Method: "GET", Port: 80, Path: "/", Header: check.RespondWith("")}
	h := history.History{
		Plan: plan.Plan{
			Config: model.Config{
				Pools:  []model.Pool{{Name: "p", Servers: servers, Keepalive: &k}},
				Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
			},
			Phases: []plan.Phase{{Kind: plan.KindConnections, Count: requests, Requests: []plan.Request{request}}},
		},
		Env: history.Environment{Workers: 1},
	}
	h.Arrivals = func(yield func(history.Arrival) bool) {
		for i := range requests {
			conn := url.Values{history.PeerField: {fmt.Sprintf("10.0.0.9:%d", i/2/each)}}
			if !yield(history.Arrival{Seq: h.Plan.FirstHit(0) + uint64(i), Server: servers[i%2].Host, Header: conn.Encode()}) {
				return
			}
		}
	}
	return h
}

func TestJudgeKeepalive(t *testing.T) {
	f := func(k model.Keepalive, requests, each int, counter string, edits ...func(*history.History)) {
		t.Helper()
		h := connected(k, requests, each)
		for _, edit := range edits {
			edit(&h)
		}
		got := judgeKeepalive(plan.Claim{Subject: "p"}, h)
		assert.Equal(t, requests, got.N)
		if counter == "" {
			assert.Empty(t, got.CounterExamples)
			return
		}
		assert.Equal(t, []string{counter}, got.CounterExamples)
	}
	never, kept, bounded := model.Keepalive{Disabled: true}, model.Keepalive{MaxIdle: 16}, model.Keepalive{MaxIdle: 16, MaxRequests: 100}
	f(never, 300, 1, "")
	f(never, 300, 2, "connection a 10.0.0.9:0 served 2 requests")
	f(kept, 300, 150, "")
	f(kept, 300, 2, "")
	f(kept, 300, 1, "300 connections for 300 requests")
	f(kept, 100, 1, "") // too few requests to conclude
	f(bounded, 300, 100, "")
	f(bounded, 300, 150, "connection a 10.0.0.9:0 served 150 requests, more than the limit of 100")
	f(bounded, 300, 10, "connections were replaced after at most 10 requests, before the limit of 100")
	f(bounded, 300, 10, "", func(h *history.History) { h.Env.Workers = 10 }) // each has connections of its own
	f(model.Keepalive{MaxIdle: 1, MaxRequests: 100}, 300, 10, "")            // no room for one per server
	lost := func(h *history.History) { h.Env.LedgerGaps = []string{"a: the service was restarted"} }
	f(never, 300, 2, "", lost)
}

// Requests of other experiments and connections opened earlier are inconclusive.
func TestConnectionsOf(t *testing.T) {
	f := func(want int, older bool, edit func(*history.History)) {
		t.Helper()
		h := connected(model.Keepalive{MaxIdle: 16}, 10, 5)
		edit(&h)
		c := connectionsOf(h, "p")
		assert.Equal(t, want, c.requests)
		assert.Equal(t, older, c.afterOtherPhases)
	}
	f(10, false, func(*history.History) {})
	f(0, false, func(h *history.History) { h.Plan.Phases[0].Engine = plan.Prober })
	f(0, false, func(h *history.History) { h.Plan.Phases[0].Requests[0].Header = nil })
	f(0, false, func(h *history.History) { h.Plan.Config.Routes[0].Pool = "other" })
	f(10, true, func(h *history.History) {
		h.Plan.Phases = slices.Insert(h.Plan.Phases, 0, plan.Phase{Requests: h.Plan.Phases[0].Requests})
	})
}
