package failover

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// Bursts show whether each worker reached its failure count.
func TestOddAttempts(t *testing.T) {
	f := func(odd int, refuted bool) {
		t.Helper()
		a := ejections{fails: 3, instances: 2, ejectedFor: 30 * time.Second, outages: 3, conclusive: 3 - odd, attempts: 9, maxAttempts: 18, oddCounts: odd}
		h := history.History{}
		assert.Equal(t, refuted, len(a.finding(h).CounterExamples) > 0)
	}
	f(0, false)
	f(1, false)
	f(2, true)
}

// network is the client's network as a key.
var network = model.Key{Variable: model.ClientAddress, Prefix: 24}

// hashing balances by a key; without a key, in an unknown way.
func hashing(key model.Key) model.Balance {
	if key.IsEmpty() {
		return model.Balance{}
	}
	return model.Balance{Kind: model.ByHash, Hash: &model.Hash{Key: key}}
}

// With max_fails=1 each attempt reaches the count, even if any of several requests in flight may have caused it.
func TestOneFailureIsEnough(t *testing.T) {
	f := func(fails, conclusive int, attempts ...time.Duration) {
		t.Helper()
		pool := model.Pool{Name: "p", Balance: hashing(network), Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		p := plan.Plan{Phases: []plan.Phase{{Count: 9, Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
		}}
		hits := []history.Hit{{Seq: p.FirstHit(0), Sent: 3 * time.Second, Done: 4 * time.Second, Code: 200, Server: "b"}}
		hits = append(hits, hits[0])
		hits[1].Seq, hits[1].Index, hits[1].Conn = p.FirstHit(0)+1, 1, 1
		for _, at := range attempts {
			if at > hits[1].Done {
				hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(len(hits)), Index: len(hits), Conn: len(hits), Sent: at, Done: at, Code: 200, Server: "b"})
			}
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values([]history.Arrival(nil))}
		mark := history.FaultWindow{Event: plan.Event{Target: "a"}, RequestedAt: time.Second, StartsBy: time.Second, EndsAfter: 10 * time.Second, EndsBy: 10 * time.Second}
		e := &outage.Outage{Server: pool.Servers[0], Fault: mark, LastAlive: time.Second, End: 20 * time.Second, Share: 0.5, Rate: 3, Attempts: attempts}
		a := ejections{fails: fails, instances: 2, ejectedFor: 10 * time.Second}
		a.addOutage(e, h, "p")
		assert.Equal(t, conclusive, a.conclusive)
	}
	at := 3500 * time.Millisecond
	f(1, 1, at)
	f(1, 2, at, at+2*time.Second)                            // one per instance
	f(1, 0)                                                  // no attempts
	f(1, 0, at, at+2*time.Second, at+3*time.Second)          // by two instances
	f(1, 1, at, at+10*time.Millisecond, at+outage.Tolerance) // all before the first failure counted
	f(2, 0, at)
}

// Once every worker has ejected the server, it must get no requests on any connection, except from new workers.
func TestEjectedByAllWorkers(t *testing.T) {
	f := func(soon int, attempts []float64, back float64, reload ...float64) {
		t.Helper()
		second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		p := plan.Plan{Phases: []plan.Phase{{Count: 100, Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
			Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}},
		}}
		h := history.History{Plan: p, Arrivals: slices.Values([]history.Arrival(nil))}
		e := &outage.Outage{
			Server: model.Server{Host: "a"}, Fault: history.FaultWindow{RequestedAt: second(1), StartsBy: second(1), EndsAfter: second(10), EndsBy: second(10)}, LastAlive: second(1), End: second(60), Rate: 3, Share: 0.5,
		}
		var hits []history.Hit
		request := func(at float64, server string) {
			hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(len(hits)), Index: len(hits), Conn: len(hits), Sent: second(at), Done: second(at + 0.01), Code: 200, Server: server})
		}
		for _, at := range attempts {
			e.Attempts = append(e.Attempts, second(at))
			request(at, "b")
		}
		request(back, "a")
		for _, at := range reload {
			h.Env.Faults = append(h.Env.Faults, history.FaultWindow{Event: plan.Event{Fault: plan.FaultReload}, RequestedAt: second(at)})
		}
		h.Hits = slices.Values(hits)
		a := ejections{fails: 2, instances: 2, ejectedFor: 30 * time.Second}
		a.addOutage(e, h, "p")
		assert.Equal(t, soon, a.tooEarly.Total)
	}
	both := []float64{2, 3, 4, 5}
	f(1, both, 20)
	f(1, both, 32.8)
	f(0, both, 33) // 30 s after the second attempt, one ejection may be over
	f(0, both[:3], 20)
	f(0, append(both, 6), 20)
	f(0, both, 20, 15)
	f(1, both, 20, 25)
}

// A connection whose requests skip the server of their key during its outage belongs to a worker that has ejected it.
func TestSkippingConnections(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	load := plan.Phase{Count: 100, Requests: []plan.Request{{Path: "/", Port: 80}}}
	f := func(fresh bool, key model.Key, again float64, want int) {
		t.Helper()
		pool := model.Pool{Name: "p", Balance: hashing(key), Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		p := plan.Plan{Phases: []plan.Phase{load}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
		}}
		var hits []history.Hit
		for i := range load.Count { // two alternating connections, three requests per second
			at := second(float64(i) / 3)
			hits = append(hits, history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Conn: i % 2, Sent: at, Done: at + second(0.01), Code: 200, Server: "b"})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values([]history.Arrival(nil))}
		mark := history.FaultWindow{Event: plan.Event{Target: "a"}, RequestedAt: second(0.9), StartsBy: second(0.9), EndsAfter: second(29), EndsBy: second(29)}
		e := &outage.Outage{Server: pool.Servers[0], Fault: mark, LastAlive: second(0.9), End: second(33), CountsReset: fresh, Share: 0.5, Rate: 3}
		e.Attempts = []time.Duration{second(1.001), second(4.0/3 + 0.001), second(again + 0.001)}
		a := ejections{fails: 1, instances: 2, ejectedFor: 30 * time.Second}
		a.addOutage(e, h, "p")
		assert.Equal(t, want, a.tooEarly.Total)
	}
	f(true, network, 15, 1)
	f(false, network, 15, 0) // it may have ejected the server in the previous outage
	f(true, model.Key{Variable: model.URI}, 15, 0)
	f(true, network, 5.0/3, 0) // no request had gone elsewhere before
}

// Workers that start during an outage count failures from zero: such an outage is no evidence.
func TestReloadDuringOutage(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	server := model.Server{Host: "a", Weight: 1, Ejection: &model.Ejection{MaxFails: 2, Window: 10 * time.Second, Duration: 10 * time.Second, Rule: model.FailuresInWindow}}
	pool := model.Pool{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}, SharedState: true, Servers: []model.Server{server, {Host: "b", Weight: 1}}}
	p := plan.Plan{
		Config: model.Config{Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}}},
		Phases: []plan.Phase{{Kind: plan.KindOutages, Rate: 10, Count: 600, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	claims := Passive.Claims(p.Config)
	f := func(refuted bool, reloads ...float64) {
		t.Helper()
		var marks []history.FaultWindow
		var hits []history.Hit
		var arrivals []history.Arrival
		var attempts []history.Attempt
		down := map[int]bool{}
		for _, at := range []float64{5, 25, 45} {
			marks = append(marks, history.FaultWindow{Event: plan.Event{Fault: plan.FaultKill, Target: "a"}, RequestedAt: second(at), StartsAfter: second(at), StartsBy: second(at), EndsAfter: second(at + 9), EndsBy: second(at + 9)})
			for i := range 90 {
				down[int(at*10)+i] = true
			}
			for i := range 4 {
				attempts = append(attempts, history.Attempt{At: second(at + 0.101 + float64(i)/10), Node: "a", SourceAddr: "balancer", Port: 80})
			}
		}
		for _, at := range reloads {
			marks = append(marks, history.FaultWindow{Event: plan.Event{Fault: plan.FaultReload, Target: "balancer"}, RequestedAt: second(at), StartsBy: second(at + 1), EndsAfter: second(at + 1), EndsBy: second(at + 2)})
		}
		for i := range 600 {
			h := history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Conn: 1, Sent: second(float64(i) / 10), Code: 200, Server: []string{"a", "b"}[i%2]}
			if down[i] {
				h.Server = "b"
			}
			h.Done = h.Sent + second(0.01)
			hits, arrivals = append(hits, h), append(arrivals, history.Arrival{Seq: h.Seq, At: h.Sent, Server: h.Server})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values(attempts)}
		h.Env = history.Environment{Workers: 1, Faults: marks, Phases: []history.Phase{{End: second(60), LastSent: second(60)}}}
		assert.Equal(t, refuted, len(judgePassive(claims[0], h).CounterExamples) > 0)
	}
	f(true)
	f(true, 15, 35)
	f(false, 4, 24, 44)
}

// A server that is still down when it is retried is ejected again.
func TestRetriedBeforeItIsBack(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	server := model.Server{Host: "a", Weight: 1, Ejection: &model.Ejection{MaxFails: 1, Window: 10 * time.Second, Duration: 10 * time.Second, Rule: model.FailuresInWindow}}
	p := plan.Plan{
		Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}},
			Pools: []model.Pool{{Name: "p", Balance: model.Balance{Kind: model.RoundRobin, Rotation: model.Smooth}, Servers: []model.Server{server, {Host: "b", Weight: 1}}}},
		},
		Phases: []plan.Phase{{Kind: plan.KindOutages, Rate: 10, Count: 400, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	claims := Passive.Claims(p.Config)
	f := func(refuted bool, back float64, early ...float64) {
		t.Helper()
		attempts := []history.Attempt{{At: second(5.101), Node: "a", SourceAddr: "balancer", Port: 80}}
		for _, at := range early {
			attempts = append(attempts, history.Attempt{At: second(at), Node: "a", SourceAddr: "balancer", Port: 80})
		}
		var hits []history.Hit
		var arrivals []history.Arrival
		for i := range 400 {
			h := history.Hit{Seq: p.FirstHit(0) + uint64(i), Index: i, Conn: 1, Sent: second(float64(i) / 10), Code: 200, Server: []string{"a", "b"}[i%2]}
			if h.Sent >= second(5) && h.Sent < second(back) {
				h.Server = "b"
			}
			h.Done = h.Sent + second(0.01)
			hits, arrivals = append(hits, h), append(arrivals, history.Arrival{Seq: h.Seq, At: h.Sent, Server: h.Server})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values(attempts)}
		mark := history.FaultWindow{Event: plan.Event{Fault: plan.FaultKill, Target: "a"}, RequestedAt: second(5), StartsAfter: second(5), StartsBy: second(5), EndsAfter: second(14), EndsBy: second(14.2)}
		h.Env = history.Environment{Workers: 2, Faults: []history.FaultWindow{mark}, Phases: []history.Phase{{End: second(40), LastSent: second(40)}}}
		assert.Equal(t, refuted, len(judgePassive(claims[0], h).CounterExamples) > 0)
	}
	f(false, 15.5)
	f(true, 24.5)
	f(false, 24.5, 14.1)
	f(true, 30, 14.1)
}
