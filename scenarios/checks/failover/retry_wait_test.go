package failover

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

func TestNewFixedWaits(t *testing.T) {
	f := func(law model.Backoff, kind model.BalanceKind, next model.NextServer, attempts, most int) {
		t.Helper()
		pool := model.Pool{Balance: model.Balance{Kind: kind}, Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		w, ok := newFixedWaits(&model.Retry{Backoff: law, Delay: time.Second, Attempts: attempts, Next: next}, pool)
		assert.Equal(t, most >= 0, ok)
		assert.Equal(t, max(0, most), w.maxWaits)
	}
	f(model.FixedBackoff, model.RoundRobin, model.NextOtherOnLast, 4, -1)
	f(model.FixedBackoff, model.RoundRobin, model.NextSame, 4, 3)
	f(model.FixedBackoff, model.LeastConnections, model.NextOtherOnLast, 3, 2)
	f(model.FixedBackoff, model.RoundRobin, model.NextOtherOnLast, 1, -1)
	f(model.NoBackoff, model.RoundRobin, model.NextSame, 4, -1)
}

func TestFixedWaits(t *testing.T) {
	f := func(times map[int]int, long bool, want string) {
		t.Helper()
		w := fixedWaits{wait: time.Second, maxWaits: 2, byCount: times, longOutage: long, attempts: 60}
		assert.Equal(t, want, w.mismatch())
	}
	f(map[int]int{1: 40, 2: 7}, true, "")
	f(map[int]int{}, false, "")
	f(map[int]int{}, true, "0 requests waited for a server that was down (60 attempts), none of them for 2 s (2 waits)")
	f(map[int]int{1: 40}, false, "") // health checks may have taken it out before
	f(map[int]int{2: 40, 3: 2}, true, "")
	f(map[int]int{1: 40}, true, "40 requests waited for a server that was down (60 attempts), none of them for 2 s (2 waits)")
	f(map[int]int{3: 3}, true, "3 requests waited 3 s for a server that was down (max 2 × 1 s)")
}

// If all servers refuse connections, each request makes as many attempts as configured, and health checks a few more.
func TestCountExhausted(t *testing.T) {
	active := model.HealthCheck{Interval: 5 * time.Second, FastInterval: 5 * time.Second, DownInterval: 5 * time.Second, Rise: 2, Fall: 3}
	pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80, HealthCheck: &active}, {Host: "b", Port: 80, HealthCheck: &active}, {Host: "c", Port: 80, Backup: true}}}
	route := model.Route{Path: "/", Port: 80, Pool: "p", DefaultHost: true}
	p := plan.Plan{
		Config: model.Config{Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{route}},
		Phases: []plan.Phase{{Kind: plan.KindBackups, Count: 200, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	kill := func(host string, at, ended time.Duration) history.FaultWindow {
		return history.FaultWindow{Event: plan.Event{Fault: plan.FaultKill, Target: host}, RequestedAt: at, StartsAfter: at, StartsBy: at, EndsAfter: ended, EndsBy: ended}
	}
	both := []history.FaultWindow{kill("a", time.Second, 30*time.Second), kill("b", time.Second, 30*time.Second)}
	f := func(each, requests int, wrong string, marks ...history.FaultWindow) {
		t.Helper()
		var hits []history.Hit
		var attempts []history.Attempt
		for i := range 200 { // 10 per second; after 11 s the servers may be out of rotation
			at := 2*time.Second + time.Duration(i)*100*time.Millisecond
			hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Sent: at, Done: at + time.Millisecond, Code: 503})
			for range each {
				attempts = append(attempts, history.Attempt{At: at, Node: []string{"a", "b"}[i%2], SourceAddr: "balancer", Port: 80})
			}
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Attempts: slices.Values(attempts), Arrivals: slices.Values([]history.Arrival(nil))}
		h.Env = history.Environment{Faults: marks, Phases: []history.Phase{{End: 40 * time.Second}}}
		n, got := countExhausted(h, &model.Retry{Attempts: 4, Next: model.NextSame}, pool, check.RouteFinder(h))
		assert.Equal(t, requests, n)
		assert.Equal(t, wrong, got)
	}
	f(4, 90, "", both...)
	f(2, 90, "182 attempts for 90 requests while all servers refused connections; 4 attempts each are 342–388", both...)
	f(5, 90, "455 attempts for 90 requests while all servers refused connections; 4 attempts each are 342–388", both...)
	f(2, 0, "", both[0]) // the other one is up
}
