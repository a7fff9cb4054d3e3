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

// Around outages the weights hold twice: among all servers while all are up, and among the remaining ones while one is
// certainly out of rotation. Requests in between are not judged.

// period is a set of time windows with the same servers in rotation.
type period struct {
	windows []outage.Window
	servers []model.Server // in rotation
	counts  []int
	total   int
	atEdges int // requests in flight at the edges, which may count on either side
}

// judgeAroundFaults judges the arrivals of the times at which the servers in rotation are known. Every edge of such a
// time may shift up to three selections per instance: one in flight, one that failed, and one for the weight that nginx
// takes away and gives back (ngx_http_upstream_round_robin.c).
func judgeAroundFaults(f *check.Finding, h history.History, pool model.Pool, all []*outage.Outage, instances int) {
	active := check.Rotation(pool)
	parts := []*period{{windows: quietWindows(h, all), servers: active}}
	for _, s := range active {
		left := slices.DeleteFunc(slices.Clone(active), func(other model.Server) bool { return other.Host == s.Host })
		known := append(outageWindows(h, all, s), removedWindows(h, pool, s)...)
		if len(known) > 0 && len(left) > 1 {
			parts = append(parts, &period{windows: known, servers: left})
		}
	}
	for _, part := range parts {
		part.count(h, pool)
		part.judge(f, h, pool.Name, instances)
	}
	f.N = parts[0].total
	if len(parts) > 1 {
		f.Note = fmt.Sprintf("%s with all servers up and %s with one out of rotation, "+
			"each judged by its own shares", units.Plural(parts[0].total, "request"), units.Number(sumTotals(parts[1:])))
	}
}

func sumTotals(parts []*period) int {
	n := 0
	for _, p := range parts {
		n += p.total
	}
	return n
}

// quietWindows returns the times without an outage or a recent recovery.
func quietWindows(h history.History, all []*outage.Outage) []outage.Window {
	out, from := []outage.Window(nil), time.Duration(0)
	for _, e := range all {
		if e.Fault.RequestedAt > from {
			out = append(out, outage.Window{From: from, To: e.Fault.RequestedAt})
		}
		until := e.End
		if e.ReturnedAt > 0 {
			last := e.ReturnedAt
			if e.PerWorker { // each instance detects the recovery by its own clock
				last = max(last, e.Fault.EndsBy+outage.MaxReturnTime(e.Server))
			}
			until = min(e.End, last+outage.SettleTime)
		}
		from = max(from, until)
	}
	if end := outage.TrafficEnd(h); from < end {
		out = append(out, outage.Window{From: from, To: end})
	}
	return withoutFaults(h, out)
}

// withoutFaults removes the times of faults other than outages, and the time that they may take effect: a reload may
// change servers and restarts the rotation; failed and late responses may eject a server.
func withoutFaults(h history.History, out []outage.Window) []outage.Window {
	for _, m := range h.Env.Faults {
		if m.Event.Fault.Effect() == plan.EffectRefused {
			continue
		}
		after := outage.SettleTime
		for _, pool := range h.Plan.Config.Pools {
			for _, s := range pool.Servers {
				if m.Event.Fault != plan.FaultReload && m.Event.Fault != plan.FaultWorkerKill {
					after = max(after, outage.MaxReturnTime(s))
				}
			}
		}
		out = subtractWindow(out, outage.Window{From: m.RequestedAt, To: m.EndsBy + after})
	}
	return out
}

// subtractWindow removes one window from others.
func subtractWindow(from []outage.Window, hole outage.Window) []outage.Window {
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

// outageWindows returns the times at which one server was certainly out of rotation, and no other was.
func outageWindows(h history.History, all []*outage.Outage, s model.Server) []outage.Window {
	var out []outage.Window
	for _, e := range all {
		if e.Server.Host != s.Host {
			continue
		}
		w := outage.Window{From: e.Fault.StartsBy + outage.SettleTime, To: e.Fault.EndsAfter}
		if a := e.Server.HealthCheck; a != nil { // until then some requests are tried there first
			_, latest, _ := a.DetectionTime()
			w.From = e.Fault.StartsBy + max(outage.SettleTime, latest)
		}
		if p := e.Server.Ejection; p != nil && p.Rule == model.FailuresInWindow {
			w.To = min(w.To, e.LastAlive+p.Duration)
		}
		for _, other := range all {
			if other != e && other.Fault.RequestedAt < w.To && other.Fault.EndsBy > w.From {
				w.To = w.From
			}
		}
		if w.From < w.To {
			out = append(out, w)
		}
	}
	return withoutFaults(h, out)
}

// removedWindows returns the times during which the configuration lacked a server.
func removedWindows(h history.History, pool model.Pool, s model.Server) []outage.Window {
	var out []outage.Window
	for _, m := range h.Env.Faults {
		if w := (outage.Window{From: m.StartsBy + outage.SettleTime, To: m.EndsAfter}); removesServer(h, m, pool,
			s.Host) && w.From < w.To {
			out = append(out, w)
		}
	}
	return out
}

// count counts the pool's arrivals within the windows, and the requests in flight at their edges.
func (p *period) count(h history.History, pool model.Pool) {
	p.counts = make([]int, len(p.servers))
	find := check.RouteFinder(h)
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
					p.atEdges++
				}
			}
		}
	}
}

// selectionsPerEdge is the number of selections per instance that an edge may shift.
const selectionsPerEdge = 3

func (p *period) judge(f *check.Finding, h history.History, pool string, instances int) {
	right, env := outageEnvelope(findPool(h, pool), p.servers, instances, max(1, len(p.windows)))
	env = env.Widen(float64(p.atEdges + 2*selectionsPerEdge*instances*len(p.windows)))
	if len(p.servers) == len(check.Rotation(findPool(h, pool))) {
		wrong := stats.NearestWrong(check.WeightsOf(p.servers))
		f.Need = env.SampleSize(right, stats.Shares(wrong), 1-h.Plan.Beta)
		f.Measured, f.Predicted = describe(p.servers, poolTally{counts: p.counts, total: p.total}, right, env)
		f.Power = fmt.Sprintf("would have caught %s with probability %s",
			formatRatio(wrong), formatProbability(env.Power(p.total, right, stats.Shares(wrong))))
	}
	for i, outside := range env.Excess(p.counts, right) {
		if outside != 0 {
			s := p.servers[i]
			f.CounterExamples = append(f.CounterExamples,
				fmt.Sprintf("%s got %s of %s requests with %s in rotation; weight %s allows %s",
					s.Host, units.Number(p.counts[i]), units.Number(p.total), units.Join(check.ServerNames(p.servers)),
					formatFraction(s.Weight, p.servers), formatInterval(i, poolTally{total: p.total}, right, env)))
		}
	}
}

func findPool(h history.History, name string) model.Pool {
	pool, _ := h.Plan.Config.Pool(name)
	return pool
}
