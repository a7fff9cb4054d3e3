package failover

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// The outages of a pool that shares servers have a phase of their own, so that all attempts belong to the pool.
func TestOutagesOfSharedServers(t *testing.T) {
	servers := func(hosts ...string) (all []model.Server) {
		for _, host := range hosts {
			all = append(all, model.Server{Host: host, Port: 80})
		}
		return all
	}
	upgrade := model.Condition{Terms: []model.Term{{Variable: model.RequestHeader, Name: "Upgrade", Op: model.OpEquals, Value: "websocket"}}}
	f := func(pinned bool, pool, title string) {
		t.Helper()
		cfg := model.Config{
			Dialect: model.Dialect{PinsConnections: pinned}, Listeners: []model.Listener{{Port: 80}},
			Pools: []model.Pool{{Name: "api", Servers: servers("a", "b")}, {Name: "web", Servers: servers("c", "d")}, {Name: "ws", Servers: servers("b", "a")}},
			Routes: []model.Route{
				{Path: "/api", Port: 80, Pool: "api"},
				{Path: "/", Port: 80, Pool: "web"},
				{Path: "/", Port: 80, Pool: "ws", Conditions: []model.Condition{upgrade}},
			},
		}
		all := outageRequirements(cfg, pool, "", func(model.Server) bool { return true })
		if title == "" {
			assert.Empty(t, all)
			return
		}
		if assert.Len(t, all, 1) {
			assert.Equal(t, title, all[0].Kind.Title(all[0].About))
			assert.Equal(t, plan.KindOutages, all[0].Kind)
		}
	}
	f(false, "api", "outages")
	f(false, "web", "outages")
	f(false, "ws", "outages of ws")
	f(true, "ws", "")
}

// If two servers take long to return, both have outages, so that three outages do not take three times as long.
func TestAlternatingOutages(t *testing.T) {
	f := func(every time.Duration, want ...string) {
		t.Helper()
		active := &model.HealthCheck{Interval: every, FastInterval: every, DownInterval: every, Rise: 2, Fall: 3}
		cfg := model.Config{
			Listeners: []model.Listener{{Port: 80}},
			Routes:    []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true, Retry: &model.Retry{Backoff: model.FixedBackoff}}},
			Pools:     []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.FairWeighted}, Servers: []model.Server{{Host: "a", Port: 80, HealthCheck: active}, {Host: "b", Port: 80, HealthCheck: active}}}},
		}
		assert.Equal(t, want, outageRequirements(cfg, "p", "", func(model.Server) bool { return true })[0].Outages)
	}
	f(5*time.Second, "b")
	f(10*time.Second, "a", "b")
}

// Of nginx's servers, the first with the greatest weight goes down: it gets most requests, and the claim names it.
func TestOutageOfTheFirst(t *testing.T) {
	passive := &model.Ejection{Rule: model.FailuresInWindow, MaxFails: 3, Duration: 10 * time.Second}
	server := func(host string, weight int) model.Server {
		return model.Server{Host: host, Port: 80, Weight: weight, Ejection: passive}
	}
	cfg := model.Config{
		Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
		Pools: []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.FairWeighted}, Servers: []model.Server{server("a", 1), server("b", 3), server("c", 2), server("d", 3)}}},
	}
	assert.Equal(t, []string{"b"}, outageRequirements(cfg, "p", "", func(model.Server) bool { return true })[0].Outages)
}
