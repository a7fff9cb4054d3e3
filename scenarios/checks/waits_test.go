package checks

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestWaitsOf(t *testing.T) {
	f := func(t *testing.T, balancer, method string, elsewhere bool, attempts, most int) {
		t.Helper()
		pool := model.Pool{Method: method, Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		w, ok := waitsOf(model.Config{Balancer: balancer}, &model.Retry{Wait: time.Second, Attempts: attempts, Elsewhere: elsewhere}, pool)
		assert.Equal(t, most >= 0, ok)
		assert.Equal(t, max(0, most), w.most)
	}
	f(t, "haproxy", "roundrobin", true, 4, -1)
	f(t, "haproxy", "roundrobin", false, 4, 3)
	f(t, "haproxy", "leastconn", true, 3, 2)
	f(t, "haproxy", "roundrobin", true, 1, -1)
	f(t, "nginx", "round robin", true, 4, -1)
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

func TestCadence(t *testing.T) {
	server := model.Server{Host: "a", Active: &model.Active{Request: "GET /health", Interval: 5 * time.Second, Fast: 5 * time.Second, Slow: 5 * time.Second, Rise: 1, Fall: 1}}
	marks := []history.Mark{{Event: plan.Event{Target: "a"}, Ordered: 40 * time.Second, To: 60 * time.Second}, {Event: plan.Event{Target: "b"}, Ordered: 70 * time.Second}}
	f := func(path string, every time.Duration, known, wrong bool, specs ...plan.Spec) {
		t.Helper()
		pools := []model.Pool{{Name: "p", Servers: []model.Server{server, {Host: "b"}}}}
		h := history.History{Plan: plan.Plan{Specs: specs, Config: model.Config{Pools: pools}, Phases: []plan.Phase{{}, {Checks: []string{"backup"}}}}}
		h.Plan.Events = []plan.Event{{Target: "a", Phase: 1, For: time.Minute}} // of which the checks that it is not for see no marks
		h.Env = history.Environment{Phases: []history.Phase{{End: 120 * time.Second}, {Start: 120 * time.Second, End: 180 * time.Second}}, Marks: marks}
		h.Checks = func(yield func(history.Check) bool) {
			for at := 2 * time.Second; at < 120*time.Second; at += every {
				dead := at > 40*time.Second && at < 60*time.Second
				if !dead && !yield(history.Check{At: at, Server: "a", Path: path}) || !yield(history.Check{At: at, Server: "b", Path: "/health"}) {
					return
				}
			}
		}
		c := cadenceOf(h, server)
		assert.Equal(t, known, c.known())
		assert.Equal(t, wrong, c.wrong(), c.String())
	}
	f("/health", 5*time.Second, true, false)
	f("/health", 5200*time.Millisecond, true, false)
	f("/health", 10*time.Second, true, true)
	f("/health", 3*time.Second, true, true)
	f("/health", 2500*time.Millisecond, true, true)
	f("/health", 2500*time.Millisecond, true, false, plan.Spec{Role: plan.Balancer}, plan.Spec{Role: plan.Peer}) // each of a pair checks
	f("/other", 5*time.Second, false, false)                                                                     // not what the configuration asks
}

// Where all servers refuse connections, each request makes as many attempts as retries allows, and health checks a few more.
func TestInVain(t *testing.T) {
	active := model.Active{Interval: 5 * time.Second, Fast: 5 * time.Second, Slow: 5 * time.Second, Rise: 2, Fall: 3}
	pool := model.Pool{Name: "p", Servers: []model.Server{{Host: "a", Port: 80, Active: &active}, {Host: "b", Port: 80, Active: &active}, {Host: "c", Port: 80, Backup: true}}}
	route := model.Route{Path: "/", Port: 80, Pool: "p", Fallback: true}
	p := plan.Plan{
		Config: model.Config{Balancer: "haproxy", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{route}},
		Phases: []plan.Phase{{Name: Backups, Count: 200, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	kill := func(host string, at, ended time.Duration) history.Mark {
		return history.Mark{Event: plan.Event{Fault: "kill", Target: host}, Ordered: at, Before: at, From: at, Ended: ended, To: ended}
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
		n, got := inVain(h, &model.Retry{Attempts: 4, On: []string{"conn-failure"}}, pool, journeys(h))
		assert.Equal(t, requests, n)
		assert.Equal(t, wrong, got)
	}
	f(4, 90, "", both...)
	f(2, 90, "182 attempts for 90 requests while all servers refused connections, where 4 attempts each make 342 to 388", both...)
	f(5, 90, "455 attempts for 90 requests while all servers refused connections, where 4 attempts each make 342 to 388", both...)
	f(2, 0, "", both[0]) // there is one to go to
}

// Rows of requests show that each worker met its count, or met something else.
func TestOddAttempts(t *testing.T) {
	f := func(odd int, refuted bool) {
		t.Helper()
		a := absence{fails: 3, states: 2, out: 30 * time.Second, n: 3, told: 3 - odd, asked: 9, most: 18, odd: odd}
		h := history.History{}
		assert.Equal(t, refuted, len(a.finding(h).Counter) > 0)
	}
	f(0, false)
	f(1, false)
	f(2, true)
}

// Where one failure is enough each attempt reaches the count, even if several requests were under way and nobody knows whose it was.
func TestOneFailureIsEnough(t *testing.T) {
	f := func(fails, told int, attempts ...time.Duration) {
		t.Helper()
		pool := model.Pool{Name: "p", Key: networkKey, Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		p := plan.Plan{Phases: []plan.Phase{{Count: 9, Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
		}}
		hits := []history.Hit{{Seq: p.First(0), Sent: 3 * time.Second, Done: 4 * time.Second, Code: 200, Server: "b"}}
		hits = append(hits, hits[0])
		hits[1].Seq, hits[1].Index, hits[1].Conn = p.First(0)+1, 1, 1
		for _, at := range attempts {
			if at > hits[1].Done {
				hits = append(hits, history.Hit{Seq: p.First(0) + uint64(len(hits)), Index: len(hits), Conn: len(hits), Sent: at, Done: at, Code: 200, Server: "b"})
			}
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values([]history.Arrival(nil))}
		mark := history.Mark{Event: plan.Event{Target: "a"}, Ordered: time.Second, From: time.Second, Ended: 10 * time.Second, To: 10 * time.Second}
		e := &episode{server: pool.Servers[0], mark: mark, alive: time.Second, next: 20 * time.Second, share: 0.5, rate: 3, attempts: attempts}
		a := absence{fails: fails, states: 2, out: 10 * time.Second}
		a.see(e, h, "p")
		assert.Equal(t, told, a.told)
	}
	at := 3500 * time.Millisecond
	f(1, 1, at)
	f(1, 2, at, at+2*time.Second)                   // each state's
	f(1, 0)                                         // nobody asked it
	f(1, 0, at, at+2*time.Second, at+3*time.Second) // by two states
	f(1, 1, at, at+10*time.Millisecond, at+slack)   // all before the first was known to have failed
	f(2, 0, at)
}

// When every worker has met its count nobody is to send the server a request for so long, whichever connection it came over; but new workers may.
func TestEveryWorkerHasMetItsCount(t *testing.T) {
	f := func(soon int, attempts []float64, back float64, reload ...float64) {
		t.Helper()
		second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		p := plan.Plan{Phases: []plan.Phase{{Count: 100, Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
			Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}},
		}}
		h := history.History{Plan: p, Arrivals: slices.Values([]history.Arrival(nil))}
		e := &episode{
			server: model.Server{Host: "a"}, mark: history.Mark{Ordered: second(1), From: second(1), Ended: second(10), To: second(10)}, alive: second(1), next: second(60), rate: 3, share: 0.5,
		}
		var hits []history.Hit
		ask := func(at float64, server string) {
			hits = append(hits, history.Hit{Seq: p.First(0) + uint64(len(hits)), Index: len(hits), Conn: len(hits), Sent: second(at), Done: second(at + 0.01), Code: 200, Server: server})
		}
		for _, at := range attempts {
			e.attempts = append(e.attempts, second(at))
			ask(at, "b")
		}
		ask(back, "a")
		for _, at := range reload {
			h.Env.Marks = append(h.Env.Marks, history.Mark{Event: plan.Event{Fault: "reload"}, Ordered: second(at)})
		}
		h.Hits = slices.Values(hits)
		a := absence{fails: 2, states: 2, out: 30 * time.Second}
		a.see(e, h, "p")
		assert.Equal(t, soon, a.soon.total)
	}
	both := []float64{2, 3, 4, 5}
	f(1, both, 20)
	f(1, both, 32.8)
	f(0, both, 33) // 30 s after the second attempt one of them may be done
	f(0, both[:3], 20)
	f(0, append(both, 6), 20)
	f(0, both, 20, 15)
	f(1, both, 20, 25)
}

// Requests that were under way when an attempt was made may ask the same server before its failure counts.
func TestAttemptsThatAreSure(t *testing.T) {
	const ms = time.Millisecond
	type request struct{ sent, done time.Duration }
	f := func(want, attempts []time.Duration, requests ...request) {
		t.Helper()
		p := plan.Plan{Phases: []plan.Phase{{Count: len(requests), Requests: []plan.Request{{Path: "/", Port: 80}}}}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
			Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "a"}, {Host: "b"}}}},
		}}
		var hits []history.Hit
		for i, r := range requests {
			hits = append(hits, history.Hit{Seq: p.First(0) + uint64(i), Index: i, Sent: r.sent, Done: r.done, Code: 200, Server: "b"})
		}
		e := &episode{attempts: attempts, next: time.Second}
		assert.Equal(t, want, e.sure(history.History{Plan: p, Hits: slices.Values(hits)}, "p"))
		assert.Empty(t, e.sure(history.History{Plan: p, Hits: slices.Values(hits)}, "another"))
	}
	two := []time.Duration{10 * ms, 30 * ms}
	f(two, two, request{9 * ms, 11 * ms}, request{29 * ms, 31 * ms})
	f(two, two, request{9 * ms, 25 * ms}, request{20 * ms, 40 * ms})              // the second was sent after the first had failed
	f(two[:1], two, request{9 * ms, 32 * ms}, request{29 * ms, 32 * ms})          // the first may have made both
	f(two[:1], two, request{8 * ms, 11 * ms}, request{9 * ms, 32 * ms})           // the second was under way when the first failed
	f(two[:1], two, request{9 * ms, 11 * ms}, request{10*ms + learns/2, 32 * ms}) // or nearly
	f(two, two, request{9 * ms, 11 * ms}, request{10*ms + 2*learns, 32 * ms})
}

// A connection whose requests have gone elsewhere since the server of their key died belongs to a worker that leaves that server alone.
func TestSparedConnections(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	load := plan.Phase{Count: 100, Requests: []plan.Request{{Path: "/", Port: 80}}}
	f := func(fresh bool, key string, again float64, want int) {
		t.Helper()
		pool := model.Pool{Name: "p", Key: key, Servers: []model.Server{{Host: "a"}, {Host: "b"}}}
		p := plan.Plan{Phases: []plan.Phase{load}, Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
		}}
		var hits []history.Hit
		for i := range load.Count { // two connections by turns, three requests a second
			at := second(float64(i) / 3)
			hits = append(hits, history.Hit{Seq: p.First(0) + uint64(i), Index: i, Conn: i % 2, Sent: at, Done: at + second(0.01), Code: 200, Server: "b"})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values([]history.Arrival(nil))}
		mark := history.Mark{Event: plan.Event{Target: "a"}, Ordered: second(0.9), From: second(0.9), Ended: second(29), To: second(29)}
		e := &episode{server: pool.Servers[0], mark: mark, alive: second(0.9), next: second(33), fresh: fresh, share: 0.5, rate: 3}
		e.attempts = []time.Duration{second(1.001), second(4.0/3 + 0.001), second(again + 0.001)}
		a := absence{fails: 1, states: 2, out: 30 * time.Second}
		a.see(e, h, "p")
		assert.Equal(t, want, a.soon.total)
	}
	f(true, networkKey, 15, 1)
	f(false, networkKey, 15, 0) // it may have left the server alone since the death before
	f(true, "$request_uri", 15, 0)
	f(true, networkKey, 5.0/3, 0) // nothing was seen to go elsewhere before
}

// Workers that come up while a server is dead count its failures anew: such a death tells nothing of how often it may be asked.
func TestTakeoverDuringDeath(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	server := model.Server{Host: "a", Weight: 1, Passive: &model.Passive{Fails: 2, Within: 10 * time.Second, Out: 10 * time.Second, Law: "nginx"}}
	pool := model.Pool{Name: "p", Method: model.RoundRobin, SharedState: true, Servers: []model.Server{server, {Host: "b", Weight: 1}}}
	p := plan.Plan{
		Config: model.Config{Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Pools: []model.Pool{pool}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}}},
		Phases: []plan.Phase{{Name: Deaths, Rate: 10, Count: 600, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	claims := passive.Claims(p.Config)
	f := func(refuted bool, takeovers ...float64) {
		t.Helper()
		var marks []history.Mark
		var hits []history.Hit
		var arrivals []history.Arrival
		var attempts []history.Attempt
		dead := map[int]bool{}
		for _, at := range []float64{5, 25, 45} {
			marks = append(marks, history.Mark{Event: plan.Event{Fault: "kill", Target: "a"}, Ordered: second(at), Before: second(at), From: second(at), Ended: second(at + 9), To: second(at + 9)})
			for i := range 90 {
				dead[int(at*10)+i] = true
			}
			for i := range 4 {
				attempts = append(attempts, history.Attempt{At: second(at + 0.101 + float64(i)/10), Node: "a", From: "balancer", Port: 80})
			}
		}
		for _, at := range takeovers {
			marks = append(marks, history.Mark{Event: plan.Event{Fault: "reload", Target: "balancer"}, Ordered: second(at), From: second(at + 1), Ended: second(at + 1), To: second(at + 2)})
		}
		for i := range 600 {
			h := history.Hit{Seq: p.First(0) + uint64(i), Index: i, Conn: 1, Sent: second(float64(i) / 10), Code: 200, Server: []string{"a", "b"}[i%2]}
			if dead[i] {
				h.Server = "b"
			}
			h.Done = h.Sent + second(0.01)
			hits, arrivals = append(hits, h), append(arrivals, history.Arrival{Seq: h.Seq, At: h.Sent, Server: h.Server})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values(attempts)}
		h.Env = history.Environment{Workers: 1, Marks: marks, Phases: []history.Phase{{End: second(60), LastSent: second(60)}}}
		assert.Equal(t, refuted, len(judgePassive(claims[0], h).Counter) > 0)
	}
	f(true)
	f(true, 15, 35)
	f(false, 4, 24, 44)
}

// A server that is not back yet when it is asked again is left alone anew from then on.
func TestAskedBeforeItIsBack(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	server := model.Server{Host: "a", Weight: 1, Passive: &model.Passive{Fails: 1, Within: 10 * time.Second, Out: 10 * time.Second, Law: "nginx"}}
	p := plan.Plan{
		Config: model.Config{
			Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Fallback: true}},
			Pools: []model.Pool{{Name: "p", Method: model.RoundRobin, Servers: []model.Server{server, {Host: "b", Weight: 1}}}},
		},
		Phases: []plan.Phase{{Name: Deaths, Rate: 10, Count: 400, Requests: []plan.Request{{Path: "/", Port: 80}}}},
	}
	claims := passive.Claims(p.Config)
	f := func(refuted bool, back float64, early ...float64) {
		t.Helper()
		attempts := []history.Attempt{{At: second(5.101), Node: "a", From: "balancer", Port: 80}}
		for _, at := range early {
			attempts = append(attempts, history.Attempt{At: second(at), Node: "a", From: "balancer", Port: 80})
		}
		var hits []history.Hit
		var arrivals []history.Arrival
		for i := range 400 {
			h := history.Hit{Seq: p.First(0) + uint64(i), Index: i, Conn: 1, Sent: second(float64(i) / 10), Code: 200, Server: []string{"a", "b"}[i%2]}
			if h.Sent >= second(5) && h.Sent < second(back) {
				h.Server = "b"
			}
			h.Done = h.Sent + second(0.01)
			hits, arrivals = append(hits, h), append(arrivals, history.Arrival{Seq: h.Seq, At: h.Sent, Server: h.Server})
		}
		h := history.History{Plan: p, Hits: slices.Values(hits), Arrivals: slices.Values(arrivals), Attempts: slices.Values(attempts)}
		mark := history.Mark{Event: plan.Event{Fault: "kill", Target: "a"}, Ordered: second(5), Before: second(5), From: second(5), Ended: second(14), To: second(14.2)}
		h.Env = history.Environment{Workers: 2, Marks: []history.Mark{mark}, Phases: []history.Phase{{End: second(40), LastSent: second(40)}}}
		assert.Equal(t, refuted, len(judgePassive(claims[0], h).Counter) > 0)
	}
	f(false, 15.5)
	f(true, 24.5)
	f(false, 24.5, 14.1)
	f(true, 30, 14.1)
}

// How many requests a client may send in a row is what the narrowest limit by address lets in at once.
func TestInRow(t *testing.T) {
	f := func(want int, limits ...model.Limit) {
		t.Helper()
		cfg := model.Config{Balancer: "nginx", Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", Limits: limits, Fallback: true}}}
		assert.Equal(t, want, InRow(cfg, []plan.Request{{Method: "GET", Port: 80, Path: "/"}}))
	}
	address := "$binary_remote_addr"
	f(0)
	f(0, model.Limit{Law: model.LeakyBucket, Key: "$http_x_key", Rate: 1, Burst: 20, Delay: -1})
	f(16, model.Limit{Law: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: -1})
	f(4, model.Limit{Law: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: 5})
	f(1, model.Limit{Law: model.LeakyBucket, Key: address, Rate: 1, Burst: 20}) // each waits for its turn
	f(8, model.Limit{Law: model.LeakyBucket, Key: address, Rate: 1, Burst: 20, Delay: -1}, model.Limit{Law: model.TokenBucket, Key: address, Rate: 1, Burst: 10})
}

// Attempts on a server that two pools have are told apart by whose requests were under way.
func TestAttemptsOfSharedServers(t *testing.T) {
	route := func(path, pool string) model.Route {
		return model.Route{Path: path, Port: 80, Pool: pool, Fallback: true}
	}
	p := plan.Plan{
		Config: model.Config{Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{route("/a", "a"), route("/b", "b")}},
		Phases: []plan.Phase{{Count: 8, InRow: 2, Requests: []plan.Request{{Path: "/a", Port: 80}, {Path: "/b", Port: 80}}}},
	}
	f := func(want []time.Duration, ok bool, attempts ...time.Duration) {
		t.Helper()
		h := history.History{Plan: p, Hits: func(yield func(history.Hit) bool) {
			for i := range 8 {
				at := time.Duration(i) * time.Second
				if !yield(history.Hit{Seq: p.First(0) + uint64(i), Index: i, Sent: at, Done: at + 1100*time.Millisecond}) {
					return
				}
			}
		}}
		e := episode{attempts: attempts, next: time.Minute}
		assert.Equal(t, ok, e.ours(h, "a"))
		if ok {
			assert.Equal(t, want, e.attempts)
		}
	}
	ms := time.Millisecond
	f([]time.Duration{500 * ms, 4500 * ms}, true, 500*ms, 2500*ms, 4500*ms) // rows are /a /a /b /b /a /a …
	f(nil, false, 500*ms, 2050*ms)                                          // one of either
}
