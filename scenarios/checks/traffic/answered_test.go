package traffic

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestJudgeAnswered(t *testing.T) {
	f := func(counter, broken string, edit func(*history.History, []history.Hit)) {
		t.Helper()
		requests := []plan.Request{{Method: "GET", Port: 80, Path: "/a"}, {Method: "GET", Port: 80, Path: "/b", Claim: "routes//"}}
		h := history.History{
			Plan: plan.Plan{
				Config: model.Config{Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}}},
				Phases: []plan.Phase{{Name: "calm", Count: 4, Requests: requests}},
			},
			Env:      history.Environment{CPUs: 2, ClientAddr: "10.0.0.2", Phases: []history.Phase{{Start: 0, End: time.Second, Hits: 4}}},
			Arrivals: func(func(history.Arrival) bool) {},
			Attempts: func(func(history.Attempt) bool) {},
		}
		hits := make([]history.Hit, 4)
		for i := range hits {
			at := time.Duration(i) * time.Millisecond
			hits[i] = history.Hit{Seq: h.Plan.FirstHit(0) + uint64(i), Index: i, Sent: at, Done: at + time.Millisecond, Code: 200, Server: "b"}
		}
		edit(&h, hits)
		h.Hits = slices.Values(hits)
		got := judgeAnswered(plan.Claim{Subject: "/"}, h)
		if counter == "" {
			assert.Empty(t, got.CounterExamples)
		} else {
			assert.Equal(t, []string{counter}, got.CounterExamples)
		}
		assert.Equal(t, broken, got.Inconclusive)
	}
	f("", "", func(*history.History, []history.Hit) {})
	f("request 1 (GET /a) was answered 502 by the balancer", "", func(_ *history.History, hits []history.Hit) {
		hits[0].Code, hits[0].Server = 502, ""
	})
	f("request 1 (GET /a) was answered 404 by b", "", func(_ *history.History, hits []history.Hit) { hits[0].Code = 404 })
	f("", "", func(_ *history.History, hits []history.Hit) { hits[1].Code = 404 }) // a probe of a path that the backend may not know
	f("request 2 (GET /b) was answered 200, but by no backend", "", func(_ *history.History, hits []history.Hit) { hits[1].Server = "" })
	f("request 3 (GET /a) failed: closed after 1 ms", "", func(_ *history.History, hits []history.Hit) { hits[2].Err = "closed" })
	f("", "1 request not counted: the load generator could not send", func(_ *history.History, hits []history.Hit) {
		hits[0].Err = history.Tester
	})
	f("", "1 request not counted: the load generator was saturated in phase calm: it used 2.0 of 2 cores",
		func(h *history.History, hits []history.Hit) {
			hits[0].Err, h.Env.Phases[0].CPU = history.Timeout, 2*time.Second
		})
	f("", "", func(h *history.History, hits []history.Hit) { // covered by the claims about failures
		hits[0].Code = 502
		h.Env.Faults = []history.FaultWindow{{Event: plan.Event{Fault: plan.FaultKill}, EndsBy: time.Second}}
	})
	f("", "nginx exited before the end of the traffic: exit status 1", func(h *history.History, hits []history.Hit) {
		hits[0].Code = 502
		h.Env.Nodes = []history.NodeRecord{{Name: "nginx", Exit: "exit status 1"}}
	})
	f("", "request 1 (GET /a) was answered 502 by the balancer; the balancer had tried a server that never saw the request (kernels "+
		"occasionally reset new connections): rerun, a balancer that loses requests will do so again", func(h *history.History, hits []history.Hit) {
		hits[0].Code, hits[0].Server = 502, ""
		h.Attempts = slices.Values([]history.Attempt{{SourceAddr: "10.0.0.3", At: hits[0].Sent}})
	})
}
