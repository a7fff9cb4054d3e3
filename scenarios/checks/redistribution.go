package checks

import (
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stats"
)

// Where servers die, the weights hold twice: for all servers while all are up, and for those that are left while one is
// known to be dead. In between nothing is said.

// stretches are times in which the same servers share a pool's requests.
type stretches struct {
	windows []window
	servers []model.Server // that share them
	counts  []int
	total   int
	cut     int // requests under way at the edges, which may lie on either side
}

// settling is how long after a server's return its share may still grow: nginx gives it back a step with every pick.
const settling = time.Second

// judgeWeightsAround judges a pool around faults, by the arrivals of the times at which it is known who
// shares them. Every edge of such a time may shift a pick or three per state: one under way in the turn, one that failed, and
// one of the weight that nginx takes away and gives back (ngx_http_upstream_round_robin.c).
func judgeWeightsAround(f *Finding, h history.History, pool model.Pool, all []*episode, states int) {
	active := rotation(pool)
	parts := []*stretches{{windows: quiet(h, all), servers: active}}
	for _, s := range active {
		left := slices.DeleteFunc(slices.Clone(active), func(other model.Server) bool { return other.Host == s.Host })
		known := append(knownDead(h, all, s), removed(h, pool, s)...)
		if len(known) > 0 && len(left) > 1 {
			parts = append(parts, &stretches{windows: known, servers: left})
		}
	}
	for _, part := range parts {
		part.count(h, pool)
		part.judge(f, h, pool.Name, states)
	}
	f.N = parts[0].total
	if len(parts) > 1 {
		f.Note = fmt.Sprintf("%s while all servers were up, and %s while one was known to be gone, were judged each by its own shares", plural(parts[0].total, "request"), number(sum(parts[1:])))
	}
}

func sum(parts []*stretches) int {
	n := 0
	for _, p := range parts {
		n += p.total
	}
	return n
}

// quiet are the times at which no server was dead or only just back.
func quiet(h history.History, all []*episode) []window {
	out, from := []window(nil), time.Duration(0)
	for _, e := range all {
		if e.mark.Ordered > from {
			out = append(out, window{from, e.mark.Ordered})
		}
		until := e.next
		if e.back > 0 {
			last := e.back
			if e.several { // each finds out by itself that the server is back, by its own clock
				last = max(last, e.mark.To+knownAgain(e.server))
			}
			until = min(e.next, last+settling)
		}
		from = max(from, until)
	}
	if end := over(h); from < end {
		out = append(out, window{from, end})
	}
	return undisturbed(h, out)
}

// undisturbed leaves out the times of faults other than deaths, and as long after as they may have an effect: reloads, with
// other servers, perhaps, and turns that begin anew; answers that fail or are late, for which servers are left alone.
func undisturbed(h history.History, out []window) []window {
	for _, m := range h.Env.Marks {
		if slices.Contains(refusing, m.Event.Fault) {
			continue
		}
		after := settling
		for _, pool := range h.Plan.Config.Pools {
			for _, s := range pool.Servers {
				if m.Event.Fault != "reload" && m.Event.Fault != "worker-kill" {
					after = max(after, knownAgain(s))
				}
			}
		}
		out = leaveOut(out, window{m.Ordered, m.To + after})
	}
	return out
}

// leaveOut takes a time out of others.
func leaveOut(from []window, hole window) []window {
	var out []window
	for _, w := range from {
		for _, rest := range []window{{w.from, min(w.to, hole.from)}, {max(w.from, hole.to), w.to}} {
			if rest.from < rest.to {
				out = append(out, rest)
			}
		}
	}
	return out
}

// knownDead are the times at which one server was dead, known to be so, and no other was.
func knownDead(h history.History, all []*episode, s model.Server) []window {
	var out []window
	for _, e := range all {
		if e.server.Host != s.Host {
			continue
		}
		w := window{e.mark.From + settling, e.mark.Ended}
		if a := e.server.Active; a != nil { // until then some requests go there first
			_, latest, _ := a.Down()
			w.from = e.mark.From + max(settling, latest)
		}
		if p := e.server.Passive; p != nil && p.Law == "nginx" {
			w.to = min(w.to, e.alive+p.Out)
		}
		for _, other := range all {
			if other != e && other.mark.Ordered < w.to && other.mark.To > w.from {
				w.to = w.from
			}
		}
		if w.from < w.to {
			out = append(out, w)
		}
	}
	return undisturbed(h, out)
}

// removed are the times at which the configuration was one without a server.
func removed(h history.History, pool model.Pool, s model.Server) []window {
	var out []window
	for _, m := range h.Env.Marks {
		if w := (window{m.From + settling, m.Ended}); removes(h, m, pool, s.Host) && w.from < w.to {
			out = append(out, w)
		}
	}
	return out
}

// count enters the pool's arrivals within the times, and the requests that were under way at their edges.
func (p *stretches) count(h history.History, pool model.Pool) {
	p.counts = make([]int, len(p.servers))
	find := journeys(h)
	for a := range h.Arrivals {
		if !slices.ContainsFunc(p.windows, func(w window) bool { return w.from < a.At && a.At <= w.to }) {
			continue
		}
		if j := find(a.Seq); j == nil || j.route.Pool != pool.Name {
			continue
		}
		if i := slices.IndexFunc(p.servers, func(s model.Server) bool { return s.Host == a.Server }); i >= 0 {
			p.counts[i]++
			p.total++
		}
	}
	for hit := range h.Hits {
		for _, w := range p.windows {
			for _, edge := range []time.Duration{w.from, w.to} {
				if hit.Sent <= edge && edge <= hit.Done {
					p.cut++
				}
			}
		}
	}
}

// perEdge is how many picks of a state an edge may shift.
const perEdge = 3

func (p *stretches) judge(f *Finding, h history.History, pool string, states int) {
	right, env := envelopeAround(poolNamed(h, pool), p.servers, states, max(1, len(p.windows)))
	env = env.Widen(float64(p.cut + 2*perEdge*states*len(p.windows)))
	if len(p.servers) == len(rotation(poolNamed(h, pool))) {
		wrong := stats.Nearest(weightsOf(p.servers))
		f.Need = env.Need(right, stats.Shares(wrong), 1-h.Plan.Beta)
		f.Measured, f.Predicted = describe(p.servers, poolTally{counts: p.counts, total: p.total}, right, env)
		f.Power = fmt.Sprintf("would have caught %s with probability %s", ratio(wrong), probability(env.Power(p.total, right, stats.Shares(wrong))))
	}
	for i, outside := range env.Outside(p.counts, right) {
		if outside != 0 {
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests while %s shared them; weight %s allows %s", p.servers[i].Host, number(p.counts[i]),
				number(p.total), and(names(p.servers)), fraction(p.servers[i].Weight, p.servers), interval(i, poolTally{total: p.total}, right, env)))
		}
	}
}

func poolNamed(h history.History, name string) model.Pool {
	pool, _ := h.Plan.Config.Pool(name)
	return pool
}
