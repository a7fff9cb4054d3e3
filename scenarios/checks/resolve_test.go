package checks

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/lb"
)

// Where nobody stands in for a server that has moved, the requests that did not find it count.
func TestAloneElsewhere(t *testing.T) {
	f := func(reached, all int, outcome lb.Outcome) {
		t.Helper()
		pool := lb.Pool{Name: "p", Servers: []lb.Server{{Host: "a", Port: 80}}, Resolve: &lb.Resolve{}}
		load := lb.Load{Name: Elsewhere, Count: all, Rate: 10, Requests: []lb.Request{{Path: "/", Port: 80}}}
		plan := lb.Plan{Alpha: 1e-3, Beta: 1e-3, Config: lb.Config{
			Listeners: []lb.Listener{{Port: 80}}, Pools: []lb.Pool{pool}, Routes: []lb.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
		}, Loads: []lb.Load{load}}
		var hits []lb.Hit
		var arrivals []lb.Arrival
		for i := range all {
			seq, sent := plan.First(0)+uint64(i), 2*time.Second+time.Duration(i)*100*time.Millisecond
			hits = append(hits, lb.Hit{Seq: seq, Index: i, Sent: sent, Done: sent + time.Minute, Code: 504})
			if i < reached {
				arrivals = append(arrivals, lb.Arrival{Seq: seq, At: sent + time.Millisecond, Server: "a"})
			}
		}
		h := lb.History{Plan: plan, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values([]lb.Attempt(nil))}
		h.Env = lb.Environment{Phases: []lb.PhaseStats{{End: 20 * time.Second}}, Marks: []lb.Mark{{
			Event: lb.Event{Fault: "move", Target: "a"}, Ordered: time.Second, From: time.Second, Ended: 6 * time.Second, To: 6 * time.Second,
		}}}
		claim := lb.Claim{Check: "resolve", Subject: "p"}
		got, reason := decide(judgeResolve(claim, h), 1, plan.Alpha)
		assert.Equal(t, outcome, got, reason)
	}
	f(0, 20, lb.Upheld)
	f(1, 20, lb.Refuted)
	f(0, 5, lb.Undecided)
}
