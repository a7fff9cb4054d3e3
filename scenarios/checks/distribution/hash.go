package distribution

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

// tunnelRequirements are for a pool that only WebSocket handshakes reach, keyed by client address.
func tunnelRequirements(cfg model.Config, claim plan.Claim, pool model.Pool) []check.Requirement {
	i := slices.IndexFunc(cfg.Routes, func(r model.Route) bool { return r.Pool == pool.Name && len(r.Access) == 0 })
	if i < 0 || !pool.Balance.Key().IsAddress() {
		return nil
	}
	r, ok := check.RequestWithSpec(cfg, cfg.Routes[i], "")
	if !ok || r.Header["Upgrade"] == "" {
		return nil
	}
	r = check.WebSocketHandshake(r)
	r.Claim = claim.ID // the route depends on a condition
	requirements := check.KeyRequirements(pool.Name, pool.Balance.Key(), r)
	for i := range requirements {
		requirements[i].Phase.Engine, requirements[i].Phase.Timeout = plan.Prober, check.WaitMargin
	}
	return requirements
}

// keyTracker follows keys to their servers.
type keyTracker struct {
	h                  history.History
	pool               model.Pool
	servers            []model.Server
	up                 []bool
	outages            []*outage.Outage
	quiet              []outage.Window
	maps               map[string]stats.Map // by the server that is down
	firstServer        map[string]string    // by the server that is down, and key
	wrong              check.Examples
	keys, duringOutage int // keys, and requests during an outage
	unknownKey         string
}

func judgeHash(claim plan.Claim, h history.History, pool model.Pool) check.Finding {
	k := newKeyTracker(h, pool)
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Tunnel || hit.Server == "" {
			continue
		}
		byWay := j.Route.Pool == pool.Name && h.Plan.Phases[j.Phase].Engine != plan.Prober
		if j.Request.Claim == claim.ID || byWay {
			k.add(hit)
		}
	}
	return k.finding()
}

// newKeyTracker returns a tracker of the pool's keys.
func newKeyTracker(h history.History, pool model.Pool) *keyTracker {
	k := &keyTracker{
		h: h, pool: pool, outages: outage.FindPartial(h, pool, outage.RefusingFaults...),
		maps: map[string]stats.Map{}, firstServer: map[string]string{},
	}
	k.servers, k.up = check.HashMembers(pool)
	k.quiet = []outage.Window{{From: 0, To: outage.TrafficEnd(h)}}
	for _, e := range k.outages {
		back := e.Fault.EndsBy + outage.MaxReturnTime(e.Server) + outage.SettleTime
		k.quiet = subtractWindow(k.quiet, outage.Window{From: e.Fault.RequestedAt, To: back})
	}
	k.quiet = withoutFaults(h, k.quiet)
	return k
}

// finding summarises the keys.
func (k *keyTracker) finding() check.Finding {
	beta := k.h.Plan.Beta
	largest := slices.Max(stats.Shares(check.WeightsOf(check.Rotation(k.pool))))
	differs := stats.DetectableShare(max(1, k.keys), 1-beta)
	f := check.Finding{
		N: k.keys, Need: int(math.Ceil(math.Log(beta) / math.Log(largest))), Inconclusive: k.unknownKey,
		CounterExamples: k.wrong.List(),

		Test:      "server of each key against the map recomputed from the configuration",
		Predicted: "each on its mapped server",
		Measured:  fmt.Sprintf("%s, %s on another server", units.Plural(k.keys, "key"), units.Number(k.wrong.Total)),
		Power: fmt.Sprintf("would have caught a map that differs on more than %s of the keys with probability %g",
			units.PercentTenths(differs), 1-beta),
	}
	if check.NewHashMap(k.pool, k.servers, k.up) == nil {
		f.Test, f.Predicted = "equal keys on one server", "one server per key"
		f.Note = "the server of each key is not judged: lbproof cannot compute this hash"
	}
	if k.duringOutage > 0 {
		f.Note += fmt.Sprintf("; %s during an outage judged by the map without the server",
			units.Plural(k.duringOutage, "request"))
		f.Note = strings.TrimPrefix(f.Note, "; ")
	}
	return f
}

// add compares the server of a hit with the map's.
func (k *keyTracker) add(hit history.Hit) {
	key, ok := check.KeyOf(k.h, k.pool.Balance.Key(), hit)
	if !ok {
		k.unknownKey = fmt.Sprintf("cannot determine the key %s of a request", k.pool.Balance.Key())
		return
	}
	down, known := k.serverDown(hit)
	if !known || len(key) == 0 { // requests without a key use round robin
		return
	}
	if down != "" {
		k.duringOutage++
	}
	if m := k.mapWithout(down); m != nil {
		if i := m(key); i >= 0 && k.servers[i].Host != hit.Server {
			k.wrong.Add("request %d with key %s was answered by %s; the map says %s",
				hit.Seq, check.FormatKey(k.pool.Balance.Key(), key), hit.Server, k.servers[i].Host)
		}
	}
	place := down + "|" + string(key)
	was, seen := k.firstServer[place]
	switch {
	case !seen:
		k.firstServer[place] = hit.Server
		k.keys++
	case was != hit.Server:
		k.wrong.Add("request %d with key %s was answered by %s, an earlier one by %s",
			hit.Seq, check.FormatKey(k.pool.Balance.Key(), key), hit.Server, was)
	}
}

// serverDown returns the only server that was certainly down during a hit, "" if all were up; known is false if that is
// uncertain.
func (k *keyTracker) serverDown(hit history.Hit) (name string, known bool) {
	in := func(windows []outage.Window) bool {
		return slices.ContainsFunc(windows, func(w outage.Window) bool { return hit.Sent >= w.From && hit.Done <= w.To })
	}
	if in(k.quiet) {
		return "", true
	}
	for _, s := range check.Rotation(k.pool) {
		if in(outageWindows(k.h, k.outages, s)) {
			return s.Host, true
		}
	}
	return "", false
}

func (k *keyTracker) mapWithout(down string) stats.Map {
	if m, made := k.maps[down]; made {
		return m
	}
	up := slices.Clone(k.up)
	for i, s := range k.servers {
		up[i] = up[i] && s.Host != down
	}
	k.maps[down] = check.NewHashMap(k.pool, k.servers, up)
	return k.maps[down]
}
