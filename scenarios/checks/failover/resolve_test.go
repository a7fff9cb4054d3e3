package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
	"github.com/lbproof/lbproof/scenarios/checks/failover"
)

// If the only server of a pool moves, the requests that do not reach it count.
func TestMoveOfOnlyServer(t *testing.T) {
	f := func(reached, all int, outcome report.Outcome) {
		t.Helper()
		pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80}}, Resolve: &model.Resolve{}}
		load := plan.Phase{Kind: plan.KindAddressChanges, Count: all, Rate: 10, Requests: []plan.Request{{Path: "/", Port: 80}}}
		p := plan.Plan{Alpha: 1e-3, Beta: 1e-3, Config: model.Config{
			Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
		}, Phases: []plan.Phase{load}}
		var hits []history.Hit
		var arrivals []history.Arrival
		for i := range all {
			seq, sent := p.FirstHit(0)+uint64(i), 2*time.Second+time.Duration(i)*100*time.Millisecond
			hits = append(hits, history.Hit{Seq: seq, Index: i, Sent: sent, Done: sent + time.Minute, Code: 504})
			if i < reached {
				arrivals = append(arrivals, history.Arrival{Seq: seq, At: sent + time.Millisecond, Server: "a"})
			}
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values([]history.Attempt(nil))}
		h.Env = history.Environment{Phases: []history.Phase{{End: 20 * time.Second}}, Faults: []history.FaultWindow{{
			Event: plan.Event{Fault: plan.FaultMove, Target: "a"}, RequestedAt: time.Second, StartsBy: time.Second, EndsAfter: 6 * time.Second, EndsBy: 6 * time.Second,
		}}}
		claim := plan.Claim{Check: "resolve", Subject: "p"}
		got, reason := checkstest.Decide(failover.Resolve.Judge(claim, h), p.Alpha)
		assert.Equal(t, outcome, got, reason)
	}
	f(0, 20, report.Upheld)
	f(1, 20, report.Refuted)
	f(0, 5, report.Undecided)
}
