package checks

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// What the promises on failures have in common: a server is dead from one time to another, its balancer goes on asking it
// until it knows, and again when it has come back.

// refusing are the faults after which connections are refused at once; vanishing those after which not even a connection comes
// about, and hanging all after which nothing comes back. Of lying ones only the health checks know.
var (
	refusing  = []string{"kill", "stop", "refuse"}
	vanishing = []string{"blackhole", "partition"}
	hanging   = append([]string{"pause", "half-open"}, vanishing...)
	lying     = []string{"sick"}
)

// episode is one time that a server was dead.
type episode struct {
	server   model.Server
	mark     history.Mark
	hangs    bool
	lies     bool
	turns    bool          // the pool's servers take turns, so that it is known how soon each is asked
	eager    bool          // or the one with the fewest requests in flight is asked, which one that is back has
	rate     float64       // requests per second that were meant for it while it lived
	rest     time.Duration // between two rows of requests to the pool
	share    float64       // of the pool's turns
	fresh    bool          // no state knows of an earlier death
	attempts []time.Duration
	early    time.Duration // the last attempt on it after the fault's end was ordered and before it was back; 0 where there was none
	served   time.Duration // the last request that reached it before the fault ended
	alive    time.Duration // it still answered then: the last request that reached it, or when the fault was ordered
	several  bool          // states, one in each worker
	back     time.Duration // the first request that reached it after it came back; 0 where none did
	asked    time.Duration // until when, after it came back, somebody asked the pool all the time
	next     time.Duration // when the episode is over: the server's next fault, or the end of the traffic
}

// over says when the last hit was done.
func over(h history.History) time.Duration {
	last := time.Duration(0)
	for _, p := range h.Env.Phases {
		last = max(last, p.End)
	}
	return last
}

// episodes are the times that servers of a pool were dead by the given faults, and asked by an open loop, while others were there.
func episodes(h history.History, pool model.Pool, kinds ...string) []*episode {
	return slices.DeleteFunc(everyEpisode(h, pool, kinds...), func(e *episode) bool {
		phase := e.mark.Event.Phase
		return phase < len(h.Plan.Phases) && slices.Contains([]string{Backups, Forsaken}, h.Plan.Phases[phase].Name)
	})
}

// everyEpisode has those too in which all were dead at once on purpose.
func everyEpisode(h history.History, pool model.Pool, kinds ...string) []*episode {
	var all []*episode
	end := over(h)
	for _, m := range h.Env.Marks {
		i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return s.Host == m.Event.Target })
		if i < 0 || m.Err != "" || !slices.Contains(kinds, m.Event.Fault) {
			continue
		}
		all = append(all, &episode{
			server: pool.Servers[i], mark: m, alive: m.Before, next: end, rate: meant(h, pool, pool.Servers[i], m.Event.Phase),
			hangs: slices.Contains(hanging, m.Event.Fault), lies: slices.Contains(lying, m.Event.Fault),
			eager: strings.HasPrefix(pool.Method, "least") && pool.Sticky == nil,
			rest:  rest(h.Plan, m.Event.Phase), share: share(pool, pool.Servers[i]),
			several: !pool.SharedState && h.Env.Workers != 1, turns: (turns(pool.Method) || keyless(h.Plan, pool, m.Event.Phase)) && (pool.Sticky == nil || !h.Plan.Phases[m.Event.Phase].Clients.Cookies),
		})
	}
	slices.SortStableFunc(all, func(a, b *episode) int { return int(a.mark.Ordered - b.mark.Ordered) })
	for i, e := range all {
		e.fresh = e.fresh || i == 0
		for _, later := range all[i+1:] {
			if later.server.Host == e.server.Host {
				e.next = later.mark.Ordered
				break
			}
		}
		if i+1 < len(all) {
			all[i+1].fresh = slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
				return m.Event.Fault == "reload" && m.Err == "" && m.Ordered > e.mark.To && m.To < all[i+1].mark.Ordered
			})
		}
	}
	if len(all) > 0 {
		hushed(h, pool, all)
		witnessed(h, all)
	}
	return all
}

// hush is how long nobody asks a pool where what becomes of a server can no more be seen.
const hush = time.Second

// LeastTurns is how often a pool is asked per second, where that is no hush.
const LeastTurns = 1.1

// hushed finds until when somebody asked the pool after each death.
func hushed(h history.History, pool model.Pool, all []*episode) {
	asked, find := make([]map[int]bool, len(all)), journeys(h) // in which pieces of time since a death was over
	for i := range all {
		asked[i] = map[int]bool{}
	}
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.route.Pool != pool.Name && j.route.Pool != "" {
			continue
		}
		for i, e := range all {
			if hit.Sent >= e.mark.Ended && hit.Sent < e.next {
				asked[i][int((hit.Sent-e.mark.Ended)/hush)] = true
			}
		}
	}
	for i, e := range all {
		n := 0
		for asked[i][n] {
			n++
		}
		e.asked = e.mark.Ended + time.Duration(max(0, n-1))*hush // the last piece may have ended before
	}
}

// witnessed enters what the servers saw: who tried to connect, and when the last and the first requests came.
func witnessed(h history.History, all []*episode) {
	for a := range h.Attempts {
		for _, e := range all {
			switch {
			case a.Node != e.server.Host || a.From == h.Env.Client:
			case a.At >= e.mark.Ordered && a.At < e.mark.Ended:
				e.attempts = append(e.attempts, a.At)
			case a.At >= e.mark.Ended && a.At < e.mark.To:
				e.early = max(e.early, a.At)
			}
		}
	}
	for a := range h.Arrivals {
		for _, e := range all {
			if a.Server == e.server.Host && a.Seq != 0 {
				e.arrived(a.At)
			}
		}
	}
	if slices.ContainsFunc(all, func(e *episode) bool { return e.hangs }) {
		returned(h, all)
	}
	for _, e := range all {
		slices.Sort(e.attempts)
		dead, _ := slices.BinarySearch(e.attempts, e.alive+1)
		e.attempts = e.attempts[dead:]
	}
}

func (e *episode) arrived(at time.Duration) {
	if at > e.alive && at <= e.mark.From {
		e.alive = at
	}
	if at < e.mark.Ended {
		e.served = max(e.served, at)
	}
	if !e.hangs && at >= e.mark.Ended && at < e.next && (e.back == 0 || at < e.back) {
		e.back = at
	}
}

// returned finds the first request that a server that had hung was sent after it was well: those that had waited reach it first.
func returned(h history.History, all []*episode) {
	for hit := range h.Hits {
		for _, e := range all {
			if e.hangs && hit.Server == e.server.Host && hit.Sent >= e.mark.Ended && hit.Sent < e.next && (e.back == 0 || hit.Sent < e.back) {
				e.back = hit.Sent
			}
		}
	}
}

// meant is how many requests a second the pool's turns give a server in an open loop; 0 where that cannot be said.
func meant(h history.History, pool model.Pool, server model.Server, phase int) float64 {
	if phase >= len(h.Plan.Phases) {
		return 0
	}
	l := h.Plan.Phases[phase]
	find, first, mine := journeys(h), h.Plan.First(phase), 0
	for i := range l.Requests {
		if j := find(first + uint64(i*max(1, l.InRow))); j != nil && j.route.Pool == pool.Name {
			mine++
		}
	}
	if len(l.Requests) == 0 {
		return 0
	}
	return l.Rate * float64(mine) / float64(len(l.Requests)) * share(pool, server)
}

// share is a server's part of a pool's turns.
func share(pool model.Pool, server model.Server) float64 {
	total := 0
	for _, s := range rotation(pool) {
		total += max(1, s.Weight)
	}
	if total == 0 {
		return 0
	}
	return float64(max(1, server.Weight)) / float64(total)
}

// keyless says whether requests of a phase bring nothing that a pool of nginx's hashes, so that its servers take turns
// (ngx_http_upstream_hash_module.c: an empty key).
func keyless(p plan.Plan, pool model.Pool, phase int) bool {
	if p.Config.Balancer != "nginx" || phase >= len(p.Phases) {
		return false
	}
	l := p.Phases[phase]
	if len(l.Keys.Values) > 0 || l.Clients.Cookies {
		return false
	}
	field, inHeader := headerKey(pool.Key)
	cookie, inCookie := strings.CutPrefix(pool.Key, "$cookie_")
	return (inHeader || inCookie) && !slices.ContainsFunc(l.Requests, func(r plan.Request) bool {
		return inHeader && header(l, r, field, 0) != "" || inCookie && strings.Contains(header(l, r, "Cookie", 0), cookie+"=")
	})
}

// rest is how long nobody asks a pool between two rows of requests to it.
func rest(p plan.Plan, phase int) time.Duration {
	if phase >= len(p.Phases) || p.Phases[phase].InRow < 2 {
		return 0
	}
	l := p.Phases[phase]
	return time.Duration(float64((len(l.Requests)-1)*l.InRow) / l.Rate * float64(time.Second))
}

// pick is how long it takes, but for one time in a thousand, until the next request is meant for the server.
func (e *episode) pick() time.Duration {
	if e.rate <= 0 {
		return 0
	}
	return e.rest + time.Duration(math.Log(1000)/e.rate*float64(time.Second))
}

// last is when the last request was sent to the dead server: of attempts that lie as close together as requests do. Those of
// health checks lie apart.
func (e *episode) last() time.Duration {
	if e.lies {
		return e.served
	}
	near := time.Duration(10 / max(1, e.rate) * float64(time.Second))
	for i := len(e.attempts) - 1; i >= 2; i-- {
		if e.attempts[i]-e.attempts[i-2] <= near {
			return e.attempts[i]
		}
	}
	return e.alive
}

// waits is how long an attempt on the server takes to fail, by the routes that lead to its pool; 0 where it never does.
func (e *episode) waits(cfg model.Config, pool string) time.Duration {
	kind := model.ReadTimeout
	switch {
	case !e.hangs:
		return 0
	case slices.Contains(vanishing, e.mark.Event.Fault):
		kind = model.ConnectTimeout
	}
	longest := time.Duration(0)
	for _, r := range cfg.Routes {
		for _, t := range r.Timeouts {
			if r.Pool == pool && t.For == kind {
				longest = max(longest, t.After)
			}
		}
	}
	return longest
}

// slack is what the clocks and the schedulers of a loaded machine may add.
const slack = 50 * time.Millisecond

// swept is how much wider than promised an interval would have been seen: n deaths at uniform moments all fall into the
// promised one with probability k^-n where the true one is k times as wide (laws of detection times).
func swept(n int, beta float64) float64 { return math.Exp(-math.Log(beta) / float64(max(1, n))) }

// deaths is how many show an interval that is twice as wide.
func deaths(beta float64) int { return int(math.Ceil(-math.Log(beta) / math.Ln2)) }

// spread prints the least and the most of some times.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f s to %.2f s", slices.Min(all).Seconds(), slices.Max(all).Seconds())
}

// deathRate is how many requests per second a pool gets while one of its servers dies, and apartRate where those are alone under way whose
// attempts would be hard to tell apart.
const (
	deathRate = 100
	apartRate = 30
)

// deathTrials kill servers of a pool that fit, one after another, the last ones, and never all but where HAProxy has one alone, and
// somebody waits for it. Where servers are those of an earlier pool, too, nobody could tell whose attempts reach them, so that the pool is
// asked alone, but for nginx's, of which rows of requests tell.
func deathTrials(cfg model.Config, name, shows string, fits func(model.Server) bool) []Trial {
	pool, ok := cfg.Pool(name)
	request, askable := toPool(cfg, name)
	if !askable {
		request, askable = handshake(cfg, name)
	}
	if !ok || !askable {
		return nil
	}
	up := slices.DeleteFunc(slices.Clone(pool.Servers), func(s model.Server) bool { return s.Backup || s.Down || s.Drain })
	mortal := slices.DeleteFunc(slices.Clone(up), func(s model.Server) bool { return !fits(s) })
	if len(mortal) == 0 || len(up) < 2 && cfg.Balancer != "haproxy" {
		return nil
	}
	t := Trial{Kind: Deaths, Shows: shows, Load: plan.Phase{Rate: deathRate, Concurrency: 512, Count: 1}}
	if cfg.Balancer != "nginx" && sharesEarlier(cfg, name) {
		t.Kind += " of " + name
	}
	if asksItself(cfg, name) {
		t.Load.Rate = apartRate
	}
	most := 1
	switch cfg.Balancer {
	case "haproxy": // whose checks know servers one by one, while nginx that leaves one alone minds the others
		if most = max(1, min(3, len(up)-1+len(up)/3)); len(up) == 2 && slices.ContainsFunc(mortal, long) { // of three by turns two are dead at a time at most
			most = 2
		}
	case "nginx": // the line that the promise names is the first of such servers
		slices.Reverse(mortal)
		slices.SortStableFunc(mortal, func(a, b model.Server) int { return a.Weight - b.Weight })
	}
	for _, s := range mortal[max(0, len(mortal)-most):] {
		t.Kill = append(t.Kill, s.Host)
	}
	t.Load.Requests, t.Load.Clients = meeting(cfg, pool, request, t.Kill)
	return []Trial{t}
}

// tooLong is for how long a server may be dead and come back for one alone to die as often as it takes. Where it takes longer, another one dies
// while its checks find it well again.
const tooLong = 40 * time.Second

// long says whether the health checks of a server take so long.
func long(s model.Server) bool {
	if s.Active == nil {
		return false
	}
	_, down, _ := s.Active.Down()
	_, up := s.Active.Up()
	return down+up > tooLong
}

// shares says whether another pool has a server of this one's, so that nobody could tell whose attempts reach it.
func shares(cfg model.Config, pool string) bool { return sharedBy(cfg, pool, cfg.Pools) }

// sharesEarlier says whether a pool that stands before this one has a server of its.
func sharesEarlier(cfg model.Config, pool string) bool {
	i := slices.IndexFunc(cfg.Pools, func(p model.Pool) bool { return p.Name == pool })
	return sharedBy(cfg, pool, cfg.Pools[:max(0, i)])
}

// sharedBy says whether one of others has a server of a pool's.
func sharedBy(cfg model.Config, pool string, others []model.Pool) bool {
	mine, _ := cfg.Pool(pool)
	return slices.ContainsFunc(others, func(o model.Pool) bool {
		return o.Name != pool && slices.ContainsFunc(o.Servers, func(s model.Server) bool {
			return slices.ContainsFunc(mine.Servers, func(m model.Server) bool { return m.Host == s.Host })
		})
	})
}

// handshake is a request for a tunnel to a pool that nothing else leads to.
func handshake(cfg model.Config, pool string) (plan.Request, bool) {
	for _, r := range cfg.Routes {
		request, ok := wishing(cfg, r, "")
		if ok && r.Pool == pool && len(r.Access) == 0 && strings.EqualFold(request.Header["Upgrade"], "websocket") && (cfg.Balancer != "nginx" || !shares(cfg, pool)) {
			return request, true
		}
	}
	return plan.Request{}, false
}

// someClients is how many addresses ask a pool whose servers are chosen by them, so that one may lead to the server that dies, and one alone.
const someClients = 2

// meeting is how requests get to the given servers of a pool: where a hash decides, with a key of theirs, or with several. To
// nginx each comes from a client of its own, whose connection stays with one worker and so with one count of failures.
func meeting(cfg model.Config, pool model.Pool, r plan.Request, hosts []string) ([]plan.Request, plan.Clients) {
	requests, clients := []plan.Request{r}, plan.Clients{}
	if cfg.Balancer == "nginx" {
		clients = plan.Clients{Count: 1, Addresses: true}
	}
	trials := keyTrials(pool, r)
	if pool.Key == "" || len(trials) == 0 {
		return requests, clients
	}
	keys := trials[0].Load.Clients
	switch {
	case !keys.Addresses:
	case cfg.Balancer != "nginx":
		return requests, keys
	default:
		clients.Apart = keys.Apart
		for i := 1; i < someClients; i++ {
			another := r
			another.Path = fmt.Sprintf("%s?client=%d", r.Path, i)
			requests = append(requests, another)
		}
		return requests, clients
	}
	servers, up := members(cfg, pool)
	m := mapOf(cfg, pool, servers, up)
	for _, one := range trials[0].Load.Requests {
		if key, ok := keyIn(one, pool.Key); ok && m != nil && slices.Contains(hosts, servers[m(key)].Host) {
			return []plan.Request{one}, clients
		}
	}
	return requests, clients
}
