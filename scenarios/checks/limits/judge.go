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

// judged reports whether lbproof knows the law of a limit, and its rate.
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
		name := cmp.Or(g.What.Name, string(g.What.Law))
		return check.Finding{
			Broken: fmt.Sprintf("lbproof counts requests by a rate that the configuration gives, which %s is not", name),
		}
	case check.NodeDied(h) != "":
		return check.Finding{Broken: check.NodeDied(h)}
	case g.What.Law == model.InFlight:
		return judgeInFlight(h, g)
	}
	return judgeRate(h, g)
}

// rival reports whether another limit of a route may have refused what a rate is asked about.
func rival(r model.Route, l model.Limit, load plan.Phase) bool {
	if l.Law == model.InFlight {
		return false
	}
	return slices.ContainsFunc(r.Limits, func(o model.Limit) bool {
		alike := o.Pos != l.Pos && o.Status == l.Status
		met := o.Law != model.InFlight || load.Concurrency > o.Most
		return alike && met
	})
}

// collection is the requests that a limit was asked about.
type collection struct {
	h      history.History
	limit  model.Limit
	routes map[string]bool // that have it, by their keys
	byKey  map[string][]asked
	mixed  map[string]bool // keys of which something else than the limit may have refused requests
	bursts map[int]bool    // of all routes in its zone that were asked
	odd    check.Examples  // refusals that are wrong whatever was counted
}

// collect finds every request that a limit was asked about, by key, in the order of sending. broken says why they
// show nothing.
func collect(
	h history.History, g check.Group[model.Limit],
) (byKey map[string][]asked, odd check.Examples, broken string) {
	c := collection{
		h: h, limit: g.What, routes: map[string]bool{}, byKey: map[string][]asked{},
		mixed: map[string]bool{}, bursts: map[int]bool{g.What.Burst: true},
	}
	for _, r := range g.Routes {
		c.routes[r.Key()] = true
	}
	find := check.Journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Tunnel {
			continue
		}
		if known := c.see(j, hit); !known {
			return nil, c.odd, fmt.Sprintf("lbproof cannot tell the key %s of a request", g.What.Key)
		}
	}
	maps.DeleteFunc(c.byKey, func(key string, _ []asked) bool { return c.mixed[key] })
	for _, all := range c.byKey {
		slices.SortFunc(all, func(a, b asked) int { return cmp.Compare(a.hit.Sent, b.hit.Sent) })
	}
	return c.byKey, c.odd, c.broken()
}

// broken says why the requests show nothing; empty where they do.
func (c *collection) broken() string {
	switch {
	case len(c.bursts) > 1:
		return "routes with other bursts share its zone, and were asked too"
	case len(c.byKey) == 0 && len(c.mixed) > 0:
		return "another limit with the same status may have refused, or requests failed"
	}
	return ""
}

// see enters a request. known is false where its key is not.
func (c *collection) see(j *check.Journey, hit history.Hit) (known bool) {
	if !c.routes[j.Key] {
		if zone := sharing(j.Route, c.limit); zone != nil {
			c.bursts[zone.Burst] = true
		}
		return true
	}
	key, known := limitKey(c.h, c.limit.Key, hit)
	if !known {
		return false
	}
	load := c.h.Plan.Phases[hit.Load]
	contested := rival(j.Route, c.limit, load)
	if key == "" && c.limit.Free.Any() {
		if refused := hit.Server == "" && hit.Code == c.limit.Status; refused && !contested {
			c.odd.Add("request %d was refused with an empty key, which is not limited", hit.Seq)
		}
		return true
	}
	if load.Via != "" {
		key += " through " + load.Via
	}
	if contested || hit.Err != "" {
		c.mixed[key] = true
	}
	let := c.letIn(j, key, hit)
	c.byKey[key] = append(c.byKey[key], asked{stats.Instant{After: hit.Sent - stale, Before: hit.Done}, hit, let})
	return true
}

// refusals are the statuses with which limits refuse.
var refusals = []int{403, 429, 503}

// letIn reports whether the limit let a request in, and marks keys of which others may have refused some.
func (c *collection) letIn(j *check.Journey, key string, hit history.Hit) bool {
	if hit.Server != "" {
		return true
	}
	if hit.Code == c.limit.Status {
		return false
	}
	if !slices.Contains(refusals, hit.Code) {
		return true
	}
	// Who refused it, and whether the limit was asked, is not known.
	if j.Route.Breaker != nil || check.FaultInForce(c.h, hit) {
		c.mixed[key] = true
		return true
	}
	if len(j.Route.Fallbacks) > 0 || len(j.Route.Access) > 0 {
		return true
	}
	c.odd.Add("request %d was refused with %d, where %d is promised", hit.Seq, hit.Code, c.limit.Status)
	return false
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

// decidedBy is when each request was let in or refused, at the latest. Who is let in may wait for a turn after that;
// but it was decided on no later than what was sent after it and refused, or else within the time that the slowest
// refusal took.
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
