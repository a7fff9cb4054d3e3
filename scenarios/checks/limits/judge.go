package limits

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// judged says whether lbproof knows the law of a limit, and its rate.
func judged(l model.Limit) bool {
	switch l.Law {
	case model.InFlight:
		return l.Most > 0
	case model.CountWindow:
		return l.Counts == model.CountsRequests && l.Window > 0
	}
	return l.Rate > 0
}

// asked is one request that a limit was asked about.
type asked struct {
	stats.Instant
	hit history.Hit
	in  bool // it was let in
}

func judgeLimits(claim plan.Claim, h history.History) check.Finding {
	g, ok := limitOf(h.Plan.Config, claim)
	switch {
	case !ok:
		return check.Finding{Cannot: "the configuration has no such limit"}
	case g.What.DryRun:
		return check.Finding{Cannot: "a dry run refuses nothing, and only writes to the log"}
	case !judged(g.What):
		return check.Finding{Broken: fmt.Sprintf("lbproof counts requests by a rate that the configuration gives, which %s is not", cmp.Or(g.What.Name, string(g.What.Law)))}
	case check.NodeDied(h) != "":
		return check.Finding{Broken: check.NodeDied(h)}
	case g.What.Law == model.InFlight:
		return judgeInFlight(h, g)
	}
	return judgeRate(h, g)
}

// rival says whether another limit of a route may have refused what a rate is asked about.
func rival(r model.Route, l model.Limit, load plan.Phase) bool {
	return l.Law != model.InFlight && slices.ContainsFunc(r.Limits, func(o model.Limit) bool {
		return o.Pos != l.Pos && o.Status == l.Status && (o.Law != model.InFlight || load.Concurrency > o.Most)
	})
}

// collect finds every request that a limit was asked about, by key, in the order of sending.
func collect(h history.History, g check.Group[model.Limit]) (byKey map[string][]asked, odd check.Examples, broken string) {
	byKey = map[string][]asked{}
	mixed := map[string]bool{}
	find, routes := check.Journeys(h), map[string]bool{}
	for _, r := range g.Routes {
		routes[r.Key()] = true
	}
	bursts := map[int]bool{g.What.Burst: true}
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Tunnel {
			continue
		}
		if !routes[j.Key] {
			if zone := sharing(j.Route, g.What); zone != nil {
				bursts[zone.Burst] = true
			}
			continue
		}
		key, ok := limitKey(h, g.What.Key, hit)
		switch {
		case !ok:
			return nil, odd, fmt.Sprintf("lbproof cannot tell the key %s of a request", g.What.Key)
		case key == "" && g.What.Free.Any():
			if hit.Server == "" && hit.Code == g.What.Status && !rival(j.Route, g.What, h.Plan.Phases[hit.Load]) {
				odd.Add("request %d was refused with an empty key, which is not limited", hit.Seq)
			}
			continue
		}
		if via := h.Plan.Phases[hit.Load].Via; via != "" {
			key += " through " + via
		}
		if rival(j.Route, g.What, h.Plan.Phases[hit.Load]) || hit.Err != "" {
			mixed[key] = true
		}
		in, other := hit.Server != "" || hit.Code != g.What.Status, hit.Server == "" && hit.Code != g.What.Status && slices.Contains([]int{403, 429, 503}, hit.Code)
		switch {
		case other && (j.Route.Breaker != nil || check.FaultInForce(h, hit)): // who refused it, and whether the limit was asked, is not known
			mixed[key] = true
		case other && len(j.Route.Fallbacks) == 0 && len(j.Route.Access) == 0:
			odd.Add("request %d was refused with %d, where %d is promised", hit.Seq, hit.Code, g.What.Status)
			in = false
		}
		byKey[key] = append(byKey[key], asked{stats.Instant{After: hit.Sent - stale, Before: hit.Done}, hit, in})
	}
	maps.DeleteFunc(byKey, func(key string, _ []asked) bool { return mixed[key] })
	if len(byKey) == 0 && len(mixed) > 0 {
		broken = "another limit with the same status may have refused, or requests failed"
	}
	if len(bursts) > 1 {
		broken = "routes with other bursts share its zone, and were asked too"
	}
	for _, all := range byKey {
		slices.SortFunc(all, func(a, b asked) int { return cmp.Compare(a.hit.Sent, b.hit.Sent) })
	}
	return byKey, odd, broken
}

// sharing is a limit of a route in the same zone.
func sharing(r model.Route, l model.Limit) *model.Limit {
	for i, o := range r.Limits {
		if o.Law == l.Law && o.Name == l.Name && o.Name != "" {
			return &r.Limits[i]
		}
	}
	return nil
}

// decidedBy is when each request was let in or refused, at the latest. Who is let in may wait for a turn after that; but it was
// decided on no later than what was sent after it and refused, or else within the time that the slowest refusal took.
func decidedBy(all []asked) []time.Duration {
	out, prompt, next := make([]time.Duration, len(all)), promptness(all), time.Duration(math.MaxInt64)
	for i, a := range slices.Backward(all) {
		if !a.in {
			next = min(next, a.hit.Done)
		}
		out[i] = min(a.Before, unheard+max(a.hit.Sent+prompt, min(next, a.Before)))
	}
	return out
}
