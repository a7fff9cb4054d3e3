package failover

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// Requests with a failed attempt wait for a random time around the interval; a slow machine causes no refutation.
func TestBackoff(t *testing.T) {
	const rate, down = 50, 10 * time.Second
	servers := []model.Server{{Host: "a", Port: 80}, {Host: "b", Port: 80}, {Host: "c", Port: 80}}
	pool := model.Pool{Name: "p", Servers: servers}
	retry := &model.Retry{Attempts: 3, Backoff: model.ExponentialBackoff, Delay: 100 * time.Millisecond, Next: model.NextInRotation}
	p := plan.Plan{
		Config: model.Config{
			Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool},
			Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true, Retry: retry}},
		},
		Phases: []plan.Phase{{Kind: plan.KindOutages, Count: 2000, Rate: rate, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	// The balancer waits 0.5 to 1.5 times interval; each request takes delay longer, and one in a hundred 40 ms.
	f := func(interval, delay, lasts time.Duration, wrong, unseen string) {
		t.Helper()
		random := rand.New(rand.NewPCG(1, 2))
		var hits []history.Hit
		var arrivals []history.Arrival
		var attempts []history.Attempt
		for i := range int(lasts.Seconds()*rate) - rate {
			sent := time.Second + time.Duration(i)*time.Second/rate
			at := sent + time.Millisecond + delay
			if random.IntN(100) == 0 {
				at += 40 * time.Millisecond
			}
			waits, next := interval, i
			for next%3 == 0 { // the attempt hits the server that is down
				attempts = append(attempts, history.Attempt{At: at, Node: "a", SourceAddr: "balancer", Port: 80})
				at += time.Duration((0.5 + random.Float64()) * float64(waits))
				waits, next = waits*14/10, random.IntN(3)
			}
			seq := p.FirstHit(0) + uint64(i)
			arrivals = append(arrivals, history.Arrival{Seq: seq, At: at, Server: "b"})
			hits = append(hits, history.Hit{Seq: seq, Index: i, Sent: sent, Done: at + time.Millisecond, Code: 200, Server: "b"})
		}
		slices.SortFunc(attempts, func(a, b history.Attempt) int { return int(a.At - b.At) })
		h := history.History{Plan: p, Hits: slices.Values(hits), Attempts: slices.Values(attempts), Arrivals: slices.Values(arrivals)}
		h.Env = history.Environment{Phases: []history.Phase{{End: 2 * lasts}}, Faults: []history.FaultWindow{{
			Event: plan.Event{Fault: plan.FaultKill, Target: "a"}, RequestedAt: time.Second, StartsAfter: time.Second, StartsBy: time.Second, EndsAfter: lasts, EndsBy: lasts,
		}}}
		b, waits := newBackoff(retry)
		assert.True(t, waits)
		b.addOutages(outage.FindPartial(h, pool, outage.RefusingFaults...), h, pool, check.RouteFinder(h))
		assert.Equal(t, unseen, b.whyInconclusive())
		assert.Equal(t, wrong, b.mismatch(1e-3))
	}
	const (
		claimed = 100 * time.Millisecond
		about   = "retry delay: "
		first   = "(initial delay 50–150 ms"
		half    = first + "; expected of half of those with one failed attempt)"
	)
	f(claimed, 0, down, "", "")
	f(claimed, 20*time.Millisecond, down, "", "")
	f(claimed, 30*time.Millisecond, down, "", about+"requests without a retry take as long")
	f(claimed, 0, 2*time.Second, "", about+"only 7 requests waited (need 20)")
	f(5*time.Second, 0, down, "1 of 42 requests waited at most 100 ms for a retry "+half, "")
	f(60*time.Millisecond, 0, down, "24 of 142 requests waited less than 50 ms for a retry, the shortest wait was 32.8 ms "+first+")", "")
	f(140*time.Millisecond, 0, down, "15 of 142 requests waited at most 100 ms for a retry "+half, "")
	f(0, 0, down, "after 208 attempts on servers that were down, only 4 requests waited "+first+")", "")
}

func TestNewBackoff(t *testing.T) {
	f := func(law model.Backoff, attempts int, want bool) {
		t.Helper()
		_, got := newBackoff(&model.Retry{Attempts: attempts, Backoff: law, Delay: time.Second})
		assert.Equal(t, want, got)
	}
	f(model.ExponentialBackoff, 3, true)
	f(model.NoBackoff, 3, false)
	f(model.ExponentialBackoff, 1, false)
	f(model.FixedBackoff, 3, false)
}
