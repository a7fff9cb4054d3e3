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

// tunnelTrials are those of a pool to which only handshakes of WebSocket connections lead, by clients' addresses.
func tunnelTrials(cfg model.Config, claim plan.Claim, pool model.Pool) []check.Trial {
	i := slices.IndexFunc(cfg.Routes, func(r model.Route) bool { return r.Pool == pool.Name && len(r.Access) == 0 })
	if i < 0 || !pool.Balance.Key().IsAddress() {
		return nil
	}
	r, ok := check.WishingRequest(cfg, cfg.Routes[i], "")
	if !ok || r.Header["Upgrade"] == "" {
		return nil
	}
	r = check.Upgrade(r)
	r.Claim = claim.ID // its way depends on a condition
	trials := check.KeyTrials(pool.Name, pool.Balance.Key(), r)
	for i := range trials {
		trials[i].Load.Engine, trials[i].Load.Timeout = plan.Prober, check.Grace
	}
	return trials
}

// keyed follows keys to their servers.
type keyed struct {
	h       history.History
	pool    model.Pool
	servers []model.Server
	up      []bool
	deaths  []*outage.Episode
	calm    []outage.Window
	maps    map[string]stats.Map // by the server that is dead
	home    map[string]string    // by dead server and key
	wrong   check.Examples
	n, far  int // keys, and requests while a server was dead
	strange string
}

func judgeKeys(claim plan.Claim, h history.History, pool model.Pool) check.Finding {
	k := newKeyed(h, pool)
	find := check.Journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Tunnel || hit.Server == "" {
			continue
		}
		byWay := j.Route.Pool == pool.Name && h.Plan.Phases[j.Load].Engine != plan.Prober
		if j.Request.Claim == claim.ID || byWay {
			k.follow(hit)
		}
	}
	return k.finding()
}

// newKeyed begins to follow the keys of a pool.
func newKeyed(h history.History, pool model.Pool) *keyed {
	k := &keyed{
		h: h, pool: pool, deaths: outage.Episodes(h, pool, outage.Refusing...),
		maps: map[string]stats.Map{}, home: map[string]string{},
	}
	k.servers, k.up = check.HashMembers(pool)
	k.calm = []outage.Window{{From: 0, To: outage.TrafficEnd(h)}}
	for _, e := range k.deaths {
		back := e.Mark.To + outage.ReturnsWithin(e.Server) + outage.Settling
		k.calm = leaveOut(k.calm, outage.Window{From: e.Mark.Ordered, To: back})
	}
	k.calm = undisturbed(h, k.calm)
	return k
}

// finding says what the keys have come to.
func (k *keyed) finding() check.Finding {
	beta := k.h.Plan.Beta
	largest := slices.Max(stats.Shares(check.WeightsOf(check.Rotation(k.pool))))
	agrees := 1 - stats.Smallest(max(1, k.n), 1-beta)
	f := check.Finding{
		N: k.n, Need: int(math.Ceil(math.Log(beta) / math.Log(largest))), Broken: k.strange, Counter: k.wrong.List(),
		Test:      "every key's server against the map that is recomputed from the configuration",
		Predicted: "each where the map says",
		Measured:  fmt.Sprintf("%s, %s elsewhere", units.Plural(k.n, "key"), units.Number(k.wrong.Total)),
		Power: fmt.Sprintf("would have caught another map unless it agrees on %s or more of the keys, with probability %g",
			units.Tenths(agrees), 1-beta),
	}
	if check.MapOf(k.pool, k.servers, k.up) == nil {
		f.Test, f.Predicted = "equal keys at one server", "one server each"
		f.Note = "which server each key belongs to is not judged: lbproof does not know this hash"
	}
	if k.far > 0 {
		f.Note += fmt.Sprintf("; %s while a server was dead were judged by the map without it",
			units.Plural(k.far, "request"))
		f.Note = strings.TrimPrefix(f.Note, "; ")
	}
	return f
}

// follow compares the server of a hit with the map's.
func (k *keyed) follow(hit history.Hit) {
	key, ok := check.KeyOf(k.h, k.pool.Balance.Key(), hit)
	if !ok {
		k.strange = fmt.Sprintf("lbproof cannot tell the key %s of a request", k.pool.Balance.Key())
		return
	}
	dead, known := k.dead(hit)
	if !known || len(key) == 0 { // without a key servers take turns
		return
	}
	if dead != "" {
		k.far++
	}
	if m := k.mapWithout(dead); m != nil {
		if i := m(key); i >= 0 && k.servers[i].Host != hit.Server {
			k.wrong.Add("request %d with the key %s was answered by %s; the map says %s",
				hit.Seq, check.ReadableKey(k.pool.Balance.Key(), key), hit.Server, k.servers[i].Host)
		}
	}
	place := dead + "|" + string(key)
	was, seen := k.home[place]
	switch {
	case !seen:
		k.home[place] = hit.Server
		k.n++
	case was != hit.Server:
		k.wrong.Add("request %d with the key %s was answered by %s, and one before by %s",
			hit.Seq, check.ReadableKey(k.pool.Balance.Key(), key), hit.Server, was)
	}
}

// dead is the one server that was known to be dead while a hit was under way; known is false where that is uncertain.
func (k *keyed) dead(hit history.Hit) (name string, known bool) {
	in := func(windows []outage.Window) bool {
		return slices.ContainsFunc(windows, func(w outage.Window) bool { return hit.Sent >= w.From && hit.Done <= w.To })
	}
	if in(k.calm) {
		return "", true
	}
	for _, s := range check.Rotation(k.pool) {
		if in(knownDead(k.h, k.deaths, s)) {
			return s.Host, true
		}
	}
	return "", false
}

func (k *keyed) mapWithout(dead string) stats.Map {
	if m, made := k.maps[dead]; made {
		return m
	}
	up := slices.Clone(k.up)
	for i, s := range k.servers {
		up[i] = up[i] && s.Host != dead
	}
	k.maps[dead] = check.MapOf(k.pool, k.servers, up)
	return k.maps[dead]
}
