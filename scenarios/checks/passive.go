package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

var passive = Check{
	Name: "passive",
	Doc:  "Failed requests take a server out of rotation, and it comes back after its time.",
	Law: "HAProxy and Traefik: out at the last of so many failures in a row and not before, back by its checks or its window; nginx: out at the latest when fails/rate have passed in every worker; away for more than fail_timeout and at most a " +
		"second longer, because nginx counts in whole seconds; one attempt per state and period meanwhile; where clients send rows of " +
		"requests, the attempts at a death are a multiple of the count",
	// What a service is asked counts too: it tells who lives. Attempts carry no note of what they are for, which does not matter where each
	// that fails takes its server out.
	Evidence: Evidence{Subrequests: always, Attempts: func(cfg model.Config, claim plan.Claim, noted bool) bool {
		return !noted || claim.Params["fails"] != 1 || !asksItself(cfg, claim.Subject)
	}},
	Claims: func(cfg model.Config) []plan.Claim {
		return pools(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			var servers [][]model.Server
			at := map[string]int{}
			for _, s := range p.Servers {
				if s.Passive == nil || len(rotation(p)) < 2 {
					continue
				}
				text := passiveText(s)
				i, same := at[text] // one promise for all servers that say the same
				if !same {
					i = len(claims)
					at[text] = i
					claims = append(claims, plan.Claim{
						ID: id("passive", p.Name, nameOf(s)), Check: "passive", Subject: p.Name, Pos: s.Passive.Pos, Implicit: s.Passive.Implicit,
						Params: passiveParams(s.Passive), Assumes: passiveAssumes(cfg, p),
					})
					servers = append(servers, nil)
				}
				servers[i] = append(servers[i], s)
				claims[i].Text = eachOf(p, servers[i]) + text
			}
			return claims
		})
	},
	Trials: passiveTrials,
	Judge:  judgePassive,
}

func passiveParams(p *model.Passive) map[string]float64 {
	params := map[string]float64{"fails": float64(p.Fails)}
	if p.Law == "nginx" && p.Fails > 0 {
		params["out_s_least"], params["out_s_most"] = seconds(p.Out), seconds(p.Out)+1
	}
	return params
}

// passiveText goes on after the name of the server.
func passiveText(s model.Server) string {
	out := s.Passive
	on := out.On
	if on == "" {
		on = "error, timeout, invalid_header"
	}
	switch {
	case out.Fails == 0:
		return " is never taken out of rotation, whatever its requests come to (max_fails=0)."
	case out.Law == "nginx":
		by := ""
		if out.Implicit {
			by = " (the default max_fails=1 fail_timeout=10s)"
		}
		return fmt.Sprintf(" is taken out of rotation after %s (%s) and tried again after %s to %s%s.", plural(out.Fails, "failed attempt"), on, span(out.Out), span(out.Out+1e9), by)
	case out.Law == "haproxy":
		return fmt.Sprintf(" is dealt with as on-error says after %s in a row (%s).", plural(out.Fails, "error"), on)
	}
	return fmt.Sprintf(" is taken out of rotation for %s after %s in a row (%s).", span(out.Out), plural(out.Fails, "failure"), on)
}

func passiveAssumes(cfg model.Config, p model.Pool) []string {
	var assumes []string
	if cfg.Balancer == "nginx" && !p.SharedState {
		assumes = append(assumes, "each worker counts for itself, so that clients may meet as many failures once per worker (no zone)")
	}
	for _, s := range p.Servers {
		if s.Passive != nil && strings.Contains(s.Passive.On, "http_5") {
			return append(assumes, "not all servers fail at once: then all are out together, and clients get 502 for as long although the servers are well again")
		}
	}
	return assumes
}

// absence is what the deaths of servers have shown of how long nginx leaves them alone.
type absence struct {
	fails, states int
	out           time.Duration

	n, told     int // deaths, and counts of states that were seen to be reached
	silent      int // deaths that show none
	mixed       int // of them: those whose attempts may be another pool's
	asked, most int // attempts on dead servers, and how many there may be
	odd         int // deaths with a number of attempts that no workers come to
	away        []time.Duration
	wrong       examples
	soon        examples // requests too soon; one may be of a client whose own server failed too
}

func judgePassive(claim plan.Claim, h history.History) Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return id("passive", pool.Name, nameOf(s)) == claim.ID })
	if !ok || first < 0 {
		return Finding{Cannot: "the configuration has no such server"}
	}
	p := pool.Servers[first].Passive
	switch {
	case astray(h.Plan.Config, pool.Name) != "":
		return Finding{Cannot: astray(h.Plan.Config, pool.Name)}
	case p.Fails == 0:
		return Finding{Broken: NoExperiment}
	case p.Law != "nginx":
		return judgeInRow(h, pool, pool.Servers[first])
	case backupsOnly(pool, *p):
		return judgeForsaken(h, pool, *p)
	}
	other, shared := sharedWith(h.Plan, pool)
	mixed := fmt.Sprintf("its servers are those of %s too, which was asked meanwhile and has counts of its own", other)
	a := absence{fails: p.Fails, out: p.Out, states: h.Env.Workers}
	if pool.SharedState {
		a.states = 1
	}
	for _, e := range episodes(h, pool, slices.Concat(refusing, hanging)...) {
		if waits := e.waits(h.Plan.Config, pool.Name); e.hangs && (waits == 0 || e.mark.Ended-e.mark.From < waits+slack) {
			continue // not one attempt had failed when it was over
		}
		if slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool {
			return m.Event.Fault == "reload" && m.Ordered < e.mark.Ended && m.To > e.mark.Ordered
		}) {
			continue // states that know nothing of its beginning came up meanwhile, and count anew
		}
		if shared && !e.ours(h, pool.Name) {
			a.n, a.silent, a.mixed = a.n+1, a.silent+1, a.mixed+1
			continue
		}
		if alike(e.server, *p) && e.rate > 0 && e.served > 0 {
			a.see(e, h, pool.Name)
		}
	}
	for _, e := range episodes(h, pool, "errors") {
		if shared {
			return Finding{Broken: mixed}
		}
		if q := e.server.Passive; q != nil && a.states == 1 && q.Fails == p.Fails && q.Out == p.Out {
			a.seeErrors(e, h, strings.Contains(q.On, "http_"+e.mark.Event.With["status"]))
		}
	}
	if a.n > 0 && a.mixed == a.n {
		return Finding{Broken: mixed}
	}
	return a.finding(h)
}

// finding is what all deaths together say.
func (a *absence) finding(h history.History) Finding {
	f := Finding{
		N: a.told, Need: Often, Broken: noDeaths(h, a.n),
		Test:      fmt.Sprintf("attempts on the dead server and how long it was left alone, %s", plural(a.states, "independent state")),
		Measured:  fmt.Sprintf("%s on dead servers in %s, back %s after the first", plural(a.asked, "attempt"), plural(a.n, "death"), spread(a.away)),
		Predicted: fmt.Sprintf("at most %s, back %g s to %g s after the first", plural(a.most, "attempt"), a.out.Seconds(), a.out.Seconds()+1),
	}
	if a.most == 0 && a.n > 0 { // it was never dead
		f.Measured = fmt.Sprintf("out %s, back %s after the last failure", plural(a.n, "time"), spread(a.away))
		f.Predicted = fmt.Sprintf("back %g s to %g s after it", a.out.Seconds(), a.out.Seconds()+1)
	}
	if a.silent > 0 {
		f.Note = fmt.Sprintf("at %s the dead server was asked too seldom, or too often at a time, for a count of %d to be reached for certain, by %s", plural(a.silent, "death"), a.fails, plural(a.states, "state"))
	}
	if a.n >= Often && a.told < Often && len(h.Plan.Checks) == 0 {
		f.Note += "; --checks passive has it die more often"
	}
	if a.odd > 1 { // one may be: a worker was asked the end of a row when the server died, and never again (s(1-s)^50 < 0.01)
		a.wrong.add("at %s the dead server was asked a number of times that is no multiple of %d, though every client asked often enough for that", plural(a.odd, "death"), a.fails)
	}
	if a.asked > a.most {
		a.wrong.add("%s on dead servers in %s, where %s are promised at most", plural(a.asked, "attempt"), plural(a.n, "death"), number(a.most))
	}
	if a.soon.total < 2 {
		a.soon = examples{}
	}
	if a.wrong.total+a.soon.total > 0 {
		f.Broken = died(h)
	}
	if f.Broken == "" {
		f.Counter = append(a.wrong.list(), a.soon.list()...)
		f.Power = "would have caught, at every death, more attempts than that and an absence that is a second longer, or shorter"
	}
	return f
}

// see judges one death by what nginx counts: a state makes so many attempts, then none for more than fail_timeout and at most
// a second longer, because it counts whole seconds, then one in each such period (ngx_http_upstream_round_robin.c). A client's
// connection stays with its worker, and so with one state. Where the server hangs, all that is sent until the first attempt has
// failed goes there too.
func (a *absence) see(e *episode, h history.History, pool string) {
	a.n++
	told := len(e.attempts) >= a.states*a.fails
	// Of several states one may have made more attempts than its count, at a time, and another none.
	if told && a.states == 1 && !e.hangs && e.back > 0 && e.back < e.attempts[a.fails-1]+a.out-slack {
		a.wrong.add("%s was sent a request %.2f s after its count of %d was reached; it is to be left alone for %g s",
			e.server.Host, (e.back - e.attempts[a.fails-1]).Seconds(), a.fails, a.out.Seconds())
	}
	waits := e.waits(h.Plan.Config, pool)
	a.most += a.states * (a.fails + int((e.mark.Ended-e.alive)/(a.out+waits)))
	if e.hangs {
		a.asked += len(e.attempts)
		a.most += stats.PoissonMost(e.rate*waits.Seconds(), h.Plan.Alpha)
		a.leftAlone(e, waits)
		a.returned(e, waits)
		a.tell(told, 1)
		return
	}
	p, _ := h.Plan.Config.Pool(pool)
	keyed := isAddress(p.Key)                               // all requests of a connection have one server
	failed, taken, owned := map[int][]time.Duration{}, 0, 0 // by connection: when its attempts failed
	met, reached := map[int]bool{}, 0                       // connections with attempts that failed, and the most in a row
	sure, all := len(e.sure(h, pool)), a.states*a.fails
	a.asked += sure
	contacts := e.contacts(h, pool)
	everyone := sure == all && len(e.attempts) == all && !slices.ContainsFunc(contacts, func(c contact) bool { return c.taken }) // has met its count
	reloaded := func(by time.Duration) bool {
		return slices.ContainsFunc(h.Env.Marks, func(m history.Mark) bool { return m.Event.Fault == "reload" && m.Ordered > e.alive && m.Ordered < by })
	}
	for _, c := range contacts {
		mine := failed[c.conn]
		if alone := len(mine) >= a.fails; alone && c.at-mine[len(mine)-1] < a.out-slack {
			a.wrong.add("%s was sent a request %.2f s after its failure at %.2f s, on the same connection; it is to be left alone for %g s",
				e.server.Host, (c.at - mine[len(mine)-1]).Seconds(), mine[len(mine)-1].Seconds(), a.out.Seconds())
		}
		if everyone && !c.failed && c.at < e.attempts[a.fails-1]+a.out-slack && !reloaded(c.at) {
			a.soon.add("%s was sent a request by %.2f s, though every worker had met its count since it died at %.2f s; it is to be left alone for %g s",
				e.server.Host, c.at.Seconds(), e.alive.Seconds(), a.out.Seconds())
		}
		if c.spared && keyed && e.fresh && c.at < e.alive+a.out-slack {
			a.soon.add("%s was sent a request at %.2f s, of a connection whose requests had gone elsewhere since it died at %.2f s; it is to be left alone for %g s",
				e.server.Host, c.at.Seconds(), e.alive.Seconds(), a.out.Seconds())
		}
		if c.failed {
			if c.taken { // of which there may have been any number at a time
				taken++
			} else {
				owned++
			}
			failed[c.conn] = append(mine, c.at)
			met[c.conn] = true
			reached = max(reached, len(failed[c.conn]))
			continue
		}
		delete(failed, c.conn)
	}
	a.returned(e, 0)
	n, long := len(e.attempts), e.mark.Ended-e.alive >= a.out // so that it is tried again while it is dead
	if !e.rows(h, a.fails) || long {
		within := long || sure <= all
		if a.fails == 1 && within && sure > 0 { // whoever's attempts they were
			a.tell(true, min(sure, a.states))
			return
		}
		a.tell(n == owned && len(met) == 1 && reached >= a.fails || n+taken >= all && within, 1)
		return
	}
	multiple := n%a.fails == 0
	if taken == 0 && n == owned && !multiple {
		a.odd++
	}
	states := 1 // at least
	if sure == n {
		states = n / a.fails
	}
	a.tell(n > 0 && taken == 0 && multiple, states)
}

// sure are the attempts for a pool's requests that were made when the balancer knew that the one before had failed: no request that may have
// made one was under way by then. Where the balancer is kept from running, several come to the same server before a failure counts.
func (e *episode) sure(h history.History, pool string) []time.Duration {
	made, blind := make([]bool, len(e.attempts)), make([]bool, len(e.attempts))
	find := journeys(h)
	for hit := range h.Hits {
		if hit.Load != e.mark.Event.Phase || hit.Done < e.alive || hit.Sent > e.next {
			continue
		}
		if j := find(hit.Seq); j == nil || j.route.Pool != pool {
			continue
		}
		first, _ := slices.BinarySearch(e.attempts, hit.Sent-learns)
		for i := first; i < len(e.attempts) && e.attempts[i] <= hit.Done; i++ {
			made[i], blind[i] = made[i] || hit.Sent <= e.attempts[i], blind[i] || i > first
		}
	}
	var left []time.Duration
	for i, at := range e.attempts {
		if made[i] && !blind[i] {
			left = append(left, at)
		}
	}
	return left
}

// learns is how soon the balancer knows that an attempt was refused.
const learns = time.Millisecond

// ours leaves those attempts that were made for a pool's requests, where another pool has the server too. ok is false where some may have
// been for either.
func (e *episode) ours(h history.History, pool string) (ok bool) {
	if e.hangs || h.Plan.Phases[e.mark.Event.Phase].InRow < 2 {
		return false
	}
	find, mine, others := journeys(h), make([]bool, len(e.attempts)), make([]bool, len(e.attempts))
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || hit.Load != e.mark.Event.Phase || hit.Done < e.alive || hit.Sent > e.next {
			continue
		}
		first, _ := slices.BinarySearch(e.attempts, hit.Sent)
		for i := first; i < len(e.attempts) && e.attempts[i] <= hit.Done; i++ {
			if j.route.Pool == pool {
				mine[i] = true
			} else {
				others[i] = true
			}
		}
	}
	var left []time.Duration
	for i, at := range e.attempts {
		switch {
		case mine[i] && others[i]:
			return false
		case mine[i]:
			left = append(left, at)
		}
	}
	e.attempts = left
	return true
}

// rows says whether each client of the phase sends so many requests one after another that its worker must meet a count of failures
// of the dead server's. Each worker that anybody asked has met it then, and nobody asked the others: the attempts are a multiple of the count.
func (e *episode) rows(h history.History, fails int) bool {
	l := h.Plan.Phases[e.mark.Event.Phase]
	return l.InRow > 1 && e.fresh && (e.turns || e.eager) && float64(l.InRow)*e.share >= float64(fails)
}

// tell counts a death at which so many states must have reached their counts.
func (a *absence) tell(told bool, states int) {
	if !told {
		a.silent++
		return
	}
	a.told += states
}

// leftAlone judges the time after so many attempts on a server that hangs have failed, where one state counts for all.
func (a *absence) leftAlone(e *episode, waits time.Duration) {
	if a.states != 1 || len(e.attempts) < a.fails {
		return
	}
	known := e.attempts[a.fails-1] + waits
	for _, at := range e.attempts {
		if at > known+slack && at < min(known+a.out, e.mark.Ended)-slack {
			a.wrong.add("%s was sent a request %.2f s after %s on it had failed; it is to be left alone for %g s", e.server.Host, (at - known).Seconds(), plural(a.fails, "attempt"), a.out.Seconds())
		}
	}
}

// returned judges when the server got its first request after it had come back. An attempt takes as long to fail as waits says.
func (a *absence) returned(e *episode, waits time.Duration) {
	lastAsked := e.alive
	if n := len(e.attempts); n > 0 {
		lastAsked = e.attempts[n-1] + waits
	}
	if e.early > 0 { // by a worker that is asked only while the start of the server keeps the others busy
		lastAsked = e.early + waits
	}
	if e.back > 0 && len(e.attempts) > 0 && !e.hangs {
		a.away = append(a.away, e.back-e.attempts[0])
	}
	latest := max(lastAsked+a.out+time.Second, e.mark.To) + e.pick()*time.Duration(a.states) + slack
	if until := cmp.Or(e.back, e.next); e.turns && until > latest && e.asked > latest {
		a.wrong.add("%s was back at %.2f s and sent no request until %.2f s, %.2f s after its last failure; %g s is promised at most",
			e.server.Host, e.mark.To.Seconds(), until.Seconds(), (until - lastAsked).Seconds(), a.out.Seconds()+1)
	}
}

// contact is a request that the balancer sent to a server, and which client's connection it was for.
type contact struct {
	at     time.Duration // of the attempt that failed, or by when there was an answer
	conn   int
	failed bool
	taken  bool // it had reached the server when that died
	spared bool // a request of the same connection had not been tried there before, since it died
}

// contacts are the requests that reached or would have reached the episode's server, from its death to the end, in order. Those
// that had reached it when it died failed too, if another server answered them. An
// attempt at the time of which several connections had a request to the pool under way is nobody's.
func (e *episode) contacts(h history.History, pool string) []contact {
	owners, taken := make([][]history.Hit, len(e.attempts)), map[uint64]time.Duration{}
	spared := map[int]time.Duration{} // by connection: since when
	for a := range byClients(h).Arrivals {
		if a.Server == e.server.Host && a.At >= e.mark.Ordered && a.At <= e.alive {
			taken[a.Seq] = a.At
		}
	}
	var all []contact
	find := journeys(h)
	for hit := range h.Hits {
		if hit.Load != e.mark.Event.Phase || hit.Done < e.alive || hit.Sent > e.next {
			continue
		}
		if j := find(hit.Seq); j == nil || j.route.Pool != pool && j.route.Pool != "" {
			continue
		}
		first, _ := slices.BinarySearch(e.attempts, hit.Sent)
		for i := first; i < len(e.attempts) && e.attempts[i] <= hit.Done; i++ {
			owners[i] = append(owners[i], hit)
		}
		if first == len(e.attempts) || e.attempts[first] > hit.Done {
			since, known := spared[hit.Conn]
			if (!known || hit.Done < since) && hit.Sent > e.mark.From+time.Second && hit.Server != "" && hit.Server != e.server.Host {
				spared[hit.Conn] = hit.Done
			}
		}
		if hit.Server == e.server.Host && hit.Sent >= e.mark.Ended {
			all = append(all, contact{at: hit.Done, conn: hit.Conn})
		}
		if at, had := taken[hit.Seq]; had && hit.Server != e.server.Host {
			all = append(all, contact{at: at, conn: hit.Conn, failed: true, taken: true})
		}
	}
	for i, under := range owners {
		if len(under) == 1 && under[0].Server != e.server.Host {
			since, known := spared[under[0].Conn]
			all = append(all, contact{at: e.attempts[i], conn: under[0].Conn, failed: true, spared: known && since < e.attempts[i]})
		}
	}
	slices.SortFunc(all, func(a, b contact) int { return int(a.at - b.at) })
	return all
}

func passiveTrials(cfg model.Config, claim plan.Claim, terms Terms) []Trial {
	pool, _ := cfg.Pool(claim.Subject)
	first := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return id("passive", pool.Name, nameOf(s)) == claim.ID })
	if first < 0 || pool.Servers[first].Passive.Law != "nginx" || pool.Servers[first].Passive.Fails == 0 {
		return nil
	}
	p := pool.Servers[first].Passive
	if backupsOnly(pool, *p) {
		return forsakenTrials(cfg, pool, *p, terms.CPUs)
	}
	return deathTrials(cfg, pool.Name, "how often a dead server is asked, and when it is tried again", func(s model.Server) bool { return alike(s, *p) })
}

// alike says whether failed requests take a server out of nginx's rotation as they do another.
func alike(s model.Server, p model.Passive) bool {
	return s.Passive != nil && s.Passive.Fails == p.Fails && s.Passive.Out == p.Out
}

// sharedWith is another pool with servers of this one that phases in which servers die ask too.
func sharedWith(p plan.Plan, pool model.Pool) (other string, shared bool) {
	for _, e := range p.Events {
		for _, r := range p.Phases[e.Phase].Requests {
			path, _, _ := strings.Cut(r.Path, "?")
			route, _ := p.Config.Route(r.Port, r.Header["Host"], path)
			o, ok := p.Config.Pool(route.Pool)
			if !ok || o.Name == pool.Name || e.Fault == "reload" || e.Fault == "slow" {
				continue
			}
			for _, s := range o.Servers {
				if slices.ContainsFunc(pool.Servers, func(mine model.Server) bool { return mine.Addr() == s.Addr() && s.Host == e.Target }) {
					return o.Name, true
				}
			}
		}
	}
	return "", false
}
