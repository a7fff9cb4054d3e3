package distribution

import (
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// Where servers die, the weights hold twice: for all servers while all are up, and for those that are left while one is
// known to be dead. In between nothing is said.

// stretches are times in which the same servers share a pool's requests.
type stretches struct {
	windows []outage.Window
	servers []model.Server // that share them
	counts  []int
	total   int
	cut     int // requests under way at the edges, which may lie on either side
}

// judgeWeightsAround judges a pool around faults, by the arrivals of the times at which it is known who shares them.
// Every edge of such a time may shift a pick or three per state: one under way in the turn, one that failed, and one
// of the weight that nginx takes away and gives back (ngx_http_upstream_round_robin.c).
func judgeWeightsAround(f *check.Finding, h history.History, pool model.Pool, all []*outage.Episode, states int) {
	active := check.Rotation(pool)
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
		f.Note = fmt.Sprintf("%s while all servers were up, and %s while one was known to be gone, "+
			"were judged each by its own shares", units.Plural(parts[0].total, "request"), units.Number(sum(parts[1:])))
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
func quiet(h history.History, all []*outage.Episode) []outage.Window {
	out, from := []outage.Window(nil), time.Duration(0)
	for _, e := range all {
		if e.Mark.Ordered > from {
			out = append(out, outage.Window{From: from, To: e.Mark.Ordered})
		}
		until := e.Next
		if e.Back > 0 {
			last := e.Back
			if e.Several { // each finds out by itself that the server is back, by its own clock
				last = max(last, e.Mark.To+outage.ReturnsWithin(e.Server))
			}
			until = min(e.Next, last+outage.Settling)
		}
		from = max(from, until)
	}
	if end := outage.TrafficEnd(h); from < end {
		out = append(out, outage.Window{From: from, To: end})
	}
	return undisturbed(h, out)
}

// undisturbed leaves out the times of faults other than deaths, and as long after as they may have an effect:
// reloads, with other servers, perhaps, and turns that begin anew; answers that fail or are late, for which servers
// are left alone.
func undisturbed(h history.History, out []outage.Window) []outage.Window {
	for _, m := range h.Env.Marks {
		if m.Event.Fault.Effect() == plan.Refuses {
			continue
		}
		after := outage.Settling
		for _, pool := range h.Plan.Config.Pools {
			for _, s := range pool.Servers {
				if m.Event.Fault != plan.FaultReload && m.Event.Fault != plan.FaultWorkerKill {
					after = max(after, outage.ReturnsWithin(s))
				}
			}
		}
		out = leaveOut(out, outage.Window{From: m.Ordered, To: m.To + after})
	}
	return out
}

// leaveOut takes a time out of others.
func leaveOut(from []outage.Window, hole outage.Window) []outage.Window {
	var out []outage.Window
	for _, w := range from {
		before := outage.Window{From: w.From, To: min(w.To, hole.From)}
		after := outage.Window{From: max(w.From, hole.To), To: w.To}
		for _, rest := range []outage.Window{before, after} {
			if rest.From < rest.To {
				out = append(out, rest)
			}
		}
	}
	return out
}

// knownDead are the times at which one server was dead, known to be so, and no other was.
func knownDead(h history.History, all []*outage.Episode, s model.Server) []outage.Window {
	var out []outage.Window
	for _, e := range all {
		if e.Server.Host != s.Host {
			continue
		}
		w := outage.Window{From: e.Mark.From + outage.Settling, To: e.Mark.Ended}
		if a := e.Server.Active; a != nil { // until then some requests go there first
			_, latest, _ := a.Down()
			w.From = e.Mark.From + max(outage.Settling, latest)
		}
		if p := e.Server.Ejection; p != nil && p.Law == model.FailuresInWindow {
			w.To = min(w.To, e.Alive+p.Out)
		}
		for _, other := range all {
			if other != e && other.Mark.Ordered < w.To && other.Mark.To > w.From {
				w.To = w.From
			}
		}
		if w.From < w.To {
			out = append(out, w)
		}
	}
	return undisturbed(h, out)
}

// removed are the times at which the configuration was one without a server.
func removed(h history.History, pool model.Pool, s model.Server) []outage.Window {
	var out []outage.Window
	for _, m := range h.Env.Marks {
		if w := (outage.Window{From: m.From + outage.Settling, To: m.Ended}); removes(h, m, pool, s.Host) && w.From < w.To {
			out = append(out, w)
		}
	}
	return out
}

// count enters the pool's arrivals within the times, and the requests that were under way at their edges.
func (p *stretches) count(h history.History, pool model.Pool) {
	p.counts = make([]int, len(p.servers))
	find := check.Journeys(h)
	for a := range h.Arrivals {
		if !slices.ContainsFunc(p.windows, func(w outage.Window) bool { return w.From < a.At && a.At <= w.To }) {
			continue
		}
		if j := find(a.Seq); j == nil || j.Route.Pool != pool.Name {
			continue
		}
		if i := slices.IndexFunc(p.servers, func(s model.Server) bool { return s.Host == a.Server }); i >= 0 {
			p.counts[i]++
			p.total++
		}
	}
	for hit := range h.Hits {
		for _, w := range p.windows {
			for _, edge := range []time.Duration{w.From, w.To} {
				if hit.Sent <= edge && edge <= hit.Done {
					p.cut++
				}
			}
		}
	}
}

// perEdge is how many picks of a state an edge may shift.
const perEdge = 3

func (p *stretches) judge(f *check.Finding, h history.History, pool string, states int) {
	right, env := envelopeAround(poolNamed(h, pool), p.servers, states, max(1, len(p.windows)))
	env = env.Widen(float64(p.cut + 2*perEdge*states*len(p.windows)))
	if len(p.servers) == len(check.Rotation(poolNamed(h, pool))) {
		wrong := stats.Nearest(check.WeightsOf(p.servers))
		f.Need = env.Need(right, stats.Shares(wrong), 1-h.Plan.Beta)
		f.Measured, f.Predicted = describe(p.servers, poolTally{counts: p.counts, total: p.total}, right, env)
		f.Power = fmt.Sprintf("would have caught %s with probability %s",
			ratio(wrong), probability(env.Power(p.total, right, stats.Shares(wrong))))
	}
	for i, outside := range env.Outside(p.counts, right) {
		if outside != 0 {
			s := p.servers[i]
			f.Counter = append(f.Counter, fmt.Sprintf("%s got %s of %s requests while %s shared them; weight %s allows %s",
				s.Host, units.Number(p.counts[i]), units.Number(p.total), units.Join(check.ServerNames(p.servers)),
				fraction(s.Weight, p.servers), interval(i, poolTally{total: p.total}, right, env)))
		}
	}
}

func poolNamed(h history.History, name string) model.Pool {
	pool, _ := h.Plan.Config.Pool(name)
	return pool
}
