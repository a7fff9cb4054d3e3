package checks

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// A pool whose servers are those of another, too, has them die in a phase of its own, so that their attempts are its.
func TestDeathsOfSharedServers(t *testing.T) {
	servers := func(hosts ...string) (all []model.Server) {
		for _, host := range hosts {
			all = append(all, model.Server{Host: host, Port: 80})
		}
		return all
	}
	f := func(balancer, pool, kind string) {
		t.Helper()
		cfg := model.Config{
			Balancer: balancer, Listeners: []model.Listener{{Port: 80}},
			Pools: []model.Pool{{Name: "api", Servers: servers("a", "b")}, {Name: "web", Servers: servers("c", "d")}, {Name: "ws", Servers: servers("b", "a")}},
			Routes: []model.Route{
				{Path: "/api", Port: 80, Pool: "api"},
				{Path: "/", Port: 80, Pool: "web"},
				{Path: "/", Port: 80, Pool: "ws", When: []string{"hdr(upgrade) -i websocket"}},
			},
		}
		all := deathTrials(cfg, pool, "", func(model.Server) bool { return true })
		if kind == "" {
			assert.Empty(t, all)
			return
		}
		if assert.Len(t, all, 1) {
			assert.Equal(t, kind, all[0].Kind)
			assert.Equal(t, Order(Deaths), Order(kind))
		}
	}
	f("haproxy", "api", Deaths)
	f("haproxy", "web", Deaths)
	f("haproxy", "ws", "deaths of ws")
	f("nginx", "ws", "")
}

// A server that is asked whether requests to it may pass has attempts of both kinds, which count alike where one failure is enough.
func TestAskedAboutItself(t *testing.T) {
	f := func(fails int, wish string, known bool) {
		t.Helper()
		law := &model.Passive{Law: "nginx", Fails: fails, Out: 10 * time.Second}
		cfg := model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}},
			Pools: []model.Pool{{Name: "p", Method: "round robin", Servers: []model.Server{{Host: "a", Port: 80, Passive: law}, {Host: "b", Port: 80, Passive: law}}}},
			Routes: []model.Route{
				{Path: "/api/", Port: 80, Pool: "p", Auth: &model.Auth{By: "/check", Pos: model.Pos{File: "f", Line: 1}}},
				{Path: "/check", Port: 80, Pool: "p", Exact: true, Internal: true},
			},
		}
		request := plan.Request{Path: "/api/", Port: 80, Header: map[string]string{history.WishHeader: wish}}
		p := plan.Plan{Config: cfg, Phases: []plan.Phase{{Count: 1, Requests: []plan.Request{request}}}}
		claim := passive.Claims(cfg)[0]
		assert.Equal(t, known, passive.Evidence.mixed(p, claim) == "")
		assert.InDelta(t, 30, passive.Trials(cfg, claim, Terms{CPUs: 1})[0].Load.Rate, 0)
	}
	f(1, "note", true)
	f(1, "", false)
	f(3, "note", false)
}

// What a server was asked about a request shows that it still lived.
func TestAServiceThatAnswersLives(t *testing.T) {
	ejects := &model.Passive{Law: "nginx", Fails: 1, Out: 10 * time.Second}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}},
		Pools: []model.Pool{{Name: "p", Method: "round robin", Servers: []model.Server{{Host: "a", Port: 80, Passive: ejects}, {Host: "b", Port: 80, Passive: ejects}}}},
		Routes: []model.Route{
			{Path: "/api/", Port: 80, Pool: "p", Auth: &model.Auth{By: "/check"}}, {Path: "/check", Port: 80, Pool: "p", Exact: true, Internal: true},
		},
	}
	request := plan.Request{Path: "/api/", Port: 80, Header: map[string]string{history.WishHeader: "note"}}
	p := plan.Plan{
		Alpha: 1e-3, Beta: 1e-3, Config: cfg, Phases: []plan.Phase{{Name: Deaths, Count: 100, Rate: 20, InRow: 16, Requests: []plan.Request{request}}},
		Claims: passive.Claims(cfg),
	}
	var hits []history.Hit
	for i := range 100 {
		at := time.Second + time.Duration(i)*50*time.Millisecond
		hits = append(hits, history.Hit{Seq: p.First(0) + uint64(i), Index: i, Sent: at, Done: at + 5*time.Millisecond, Code: 200, Server: "b", Conn: 1})
	}
	kill := history.Mark{
		Event: plan.Event{Fault: "kill", Target: "a"}, Ordered: 1040 * time.Millisecond, Before: 1040 * time.Millisecond,
		From: 1120 * time.Millisecond, Ended: 6 * time.Second, To: 6 * time.Second,
	}
	arrived := []history.Arrival{
		{Seq: hits[0].Seq, At: time.Second, Server: "a"},
		{Seq: hits[1].Seq, At: 1052 * time.Millisecond, Server: "a", Header: url.Values{history.NotedPath: {"/check"}}.Encode()},
	}
	attempts := []history.Attempt{{At: 1051 * time.Millisecond, Node: "a", From: "nginx"}, {At: 1101 * time.Millisecond, Node: "a", From: "nginx"}}
	r, err := Judge(history.History{
		Plan: p, Env: history.Environment{Workers: 1, Marks: []history.Mark{kill}, Phases: []history.Phase{{End: 7 * time.Second}}},
		Hits: slices.Values(hits), Arrivals: slices.Values(arrived), Attempts: slices.Values(attempts),
		Checks: func(func(history.Check) bool) {}, Err: func() error { return nil },
	})
	require.NoError(t, err)
	assert.Equal(t, report.Undecided, r.Verdicts[0].Outcome, r.Verdicts[0].Reason)
}

// Of two servers that take long to be found well again each dies, so that three deaths do not take three times as long.
func TestDeathsByTurns(t *testing.T) {
	f := func(every time.Duration, want ...string) {
		t.Helper()
		active := &model.Active{Interval: every, Fast: every, Slow: every, Rise: 2, Fall: 3}
		cfg := model.Config{
			Balancer: "haproxy", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
			Pools: []model.Pool{{Name: "p", Method: "roundrobin", Servers: []model.Server{{Host: "a", Port: 80, Active: active}, {Host: "b", Port: 80, Active: active}}}},
		}
		assert.Equal(t, want, deathTrials(cfg, "p", "", func(model.Server) bool { return true })[0].Kill)
	}
	f(5*time.Second, "b")
	f(10*time.Second, "a", "b")
}

// Of nginx's servers the first of those with the greatest weight dies, which is asked most, and which the promise names.
func TestDeathOfTheFirst(t *testing.T) {
	passive := &model.Passive{Law: "nginx", Fails: 3, Out: 10 * time.Second}
	server := func(host string, weight int) model.Server {
		return model.Server{Host: host, Port: 80, Weight: weight, Passive: passive}
	}
	cfg := model.Config{
		Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
		Pools: []model.Pool{{Name: "p", Method: "roundrobin", Servers: []model.Server{server("a", 1), server("b", 3), server("c", 2), server("d", 3)}}},
	}
	assert.Equal(t, []string{"b"}, deathTrials(cfg, "p", "", func(model.Server) bool { return true })[0].Kill)
}

// Where other pools' servers die and these would take too long, the report says how to have them die.
func TestLeftOut(t *testing.T) {
	f := func(want bool, chosen []string, dies ...string) {
		t.Helper()
		p := plan.Plan{Checks: chosen, Phases: []plan.Phase{{Name: Deaths}}}
		for _, host := range dies {
			p.Events = append(p.Events, plan.Event{Fault: "kill", Target: host})
		}
		assert.Equal(t, want, leftOut(p, model.Pool{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}))
	}
	f(true, nil, "c")
	f(false, nil, "c", "b")
	f(false, []string{"active"}, "c") // that has been tried
}
