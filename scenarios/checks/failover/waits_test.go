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

func TestWaitsOf(t *testing.T) {
	f := func(law model.WaitLaw, kind model.BalanceKind, next model.NextServer, attempts, most int) {
		t.Helper()
		pool := model.Pool{Balance: model.Balance{Kind: kind}, Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		w, ok := waitsOf(&model.Retry{Wait: law, Each: time.Second, Attempts: attempts, Next: next}, pool)
		assert.Equal(t, most >= 0, ok)
		assert.Equal(t, max(0, most), w.most)
	}
	f(model.FixedWait, model.RoundRobin, model.NextAtLast, 4, -1)
	f(model.FixedWait, model.RoundRobin, model.NextSame, 4, 3)
	f(model.FixedWait, model.LeastConnections, model.NextAtLast, 3, 2)
	f(model.FixedWait, model.RoundRobin, model.NextAtLast, 1, -1)
	f(model.NoWait, model.RoundRobin, model.NextSame, 4, -1)
}

func TestWaited(t *testing.T) {
	f := func(times map[int]int, long bool, want string) {
		t.Helper()
		w := waited{wait: time.Second, most: 2, times: times, long: long, met: 60}
		assert.Equal(t, want, w.wrong())
	}
	f(map[int]int{1: 40, 2: 7}, true, "")
	f(map[int]int{}, false, "")
	f(map[int]int{}, true, "0 requests waited for a dead server, on which there were 60 attempts, and none of them 2s, as 2 times come to")
	f(map[int]int{1: 40}, false, "") // checks may have found the server dead before
	f(map[int]int{2: 40, 3: 2}, true, "")
	f(map[int]int{1: 40}, true, "40 requests waited for a dead server, on which there were 60 attempts, and none of them 2s, as 2 times come to")
	f(map[int]int{3: 3}, true, "3 requests waited 3s for a dead server, 2 times at most")
}

// Where all servers refuse connections, each request makes as many attempts as retries allows, and health checks a few more.
func TestInVain(t *testing.T) {
	active := model.Active{Interval: 5 * time.Second, Fast: 5 * time.Second, Slow: 5 * time.Second, Rise: 2, Fall: 3}
	pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80, Active: &active}, {Host: "b", Port: 80, Active: &active}, {Host: "c", Port: 80, Backup: true}}}
	route := model.Route{Path: "/", Port: 80, Pool: "p", Fallback: true}
	p := plan.Plan{
		Config: model.Config{Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{route}},
		Phases: []plan.Phase{{Kind: plan.KindBackups, Count: 200, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	kill := func(host string, at, ended time.Duration) history.Mark {
		return history.Mark{Event: plan.Event{Fault: plan.FaultKill, Target: host}, Ordered: at, Before: at, From: at, Ended: ended, To: ended}
	}
	both := []history.Mark{kill("a", time.Second, 30*time.Second), kill("b", time.Second, 30*time.Second)}
	f := func(each, requests int, wrong string, marks ...history.Mark) {
		t.Helper()
		var hits []history.Hit
		var attempts []history.Attempt
		for i := range 200 { // ten a second; those after 11 s may find the servers known to be dead
			at := 2*time.Second + time.Duration(i)*100*time.Millisecond
			hits = append(hits, history.Hit{Seq: p.First(0) + uint64(i), Index: i, Sent: at, Done: at + time.Millisecond, Code: 503})
			for range each {
				attempts = append(attempts, history.Attempt{At: at, Node: []string{"a", "b"}[i%2], From: "balancer", Port: 80})
			}
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Attempts: slices.Values(attempts), Arrivals: slices.Values([]history.Arrival(nil))}
		h.Env = history.Environment{Marks: marks, Phases: []history.Phase{{End: 40 * time.Second}}}
		n, got := inVain(h, &model.Retry{Attempts: 4, Next: model.NextSame}, pool, check.Journeys(h))
		assert.Equal(t, requests, n)
		assert.Equal(t, wrong, got)
	}
	f(4, 90, "", both...)
	f(2, 90, "182 attempts for 90 requests while all servers refused connections, where 4 attempts each make 342 to 388", both...)
	f(5, 90, "455 attempts for 90 requests while all servers refused connections, where 4 attempts each make 342 to 388", both...)
	f(2, 0, "", both[0]) // there is one to go to
}
