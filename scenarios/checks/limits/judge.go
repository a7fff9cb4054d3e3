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

// hasKnownLaw reports whether lbproof knows the law of a limit, and its rate.
func hasKnownLaw(l model.Limit) bool {
	switch l.Algorithm {
	case model.InFlight:
		return l.MaxInFlight > 0
	case model.CountWindow:
		return l.Counts == model.CountsRequests && l.Window > 0
	}
	return l.Rate > 0
}

// limitedRequest is a request that a limit decided on.
type limitedRequest struct {
	stats.TimeBounds
	hit      history.Hit
	admitted bool
}

func judgeLimits(claim plan.Claim, h history.History) check.Finding {
	g, ok := limitOf(h.Plan.Config, claim)
	switch {
	case !ok:
		return check.Finding{Untestable: "the configuration has no such limit"}
	case g.What.DryRun:
		return check.Finding{Untestable: "dry run: requests are logged but never refused"}
	case !hasKnownLaw(g.What):
		return check.Finding{
			Inconclusive: fmt.Sprintf("%s is not a request rate that the configuration declares", limitName(g.What)),
		}
	case check.WhyNodeExited(h) != "":
		return check.Finding{Inconclusive: check.WhyNodeExited(h)}
	case g.What.Algorithm == model.InFlight:
		return judgeInFlight(h, g)
	}
	return judgeRate(h, g)
}

// hasRival reports whether another limit of a route may have refused requests that a rate decides on.
func hasRival(r model.Route, l model.Limit, load plan.Phase) bool {
	if l.Algorithm == model.InFlight {
		return false
	}
	return slices.ContainsFunc(r.Limits, func(o model.Limit) bool {
		alike := o.Pos != l.Pos && o.Status == l.Status
		met := o.Algorithm != model.InFlight || load.Concurrency > o.MaxInFlight
		return alike && met
	})
}

// collection is the requests that a limit decided on.
type collection struct {
	h          history.History
	limit      model.Limit
	routes     map[string]bool // with the limit, by key
	byKey      map[string][]limitedRequest
	ambiguous  map[string]bool // keys with requests that something other than the limit may have refused
	bursts     map[int]bool    // of all routes in its zone that received requests
	unexpected check.Examples  // refusals that are wrong whatever the count
}

// collect returns every request that a limit decided on, by key and in order of sending. broken explains why they are
// inconclusive.
func collect(
	h history.History, g check.Group[model.Limit],
) (byKey map[string][]limitedRequest, unexpected check.Examples, broken string) {
	c := collection{
		h: h, limit: g.What, routes: map[string]bool{}, byKey: map[string][]limitedRequest{},
		ambiguous: map[string]bool{}, bursts: map[int]bool{g.What.Burst: true},
	}
	for _, r := range g.Routes {
		c.routes[r.Key()] = true
	}
	find := check.RouteFinder(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.Tunnel {
			continue
		}
		if known := c.add(j, hit); !known {
			return nil, c.unexpected, fmt.Sprintf("cannot determine the key %s of a request", g.What.Key)
		}
	}
	maps.DeleteFunc(c.byKey, func(key string, _ []limitedRequest) bool { return c.ambiguous[key] })
	for _, all := range c.byKey {
		slices.SortFunc(all, func(a, b limitedRequest) int { return cmp.Compare(a.hit.Sent, b.hit.Sent) })
	}
	return c.byKey, c.unexpected, c.whyInconclusive()
}

// whyInconclusive explains why the requests are inconclusive, or returns "".
func (c *collection) whyInconclusive() string {
	switch {
	case len(c.bursts) > 1:
		return "routes with different bursts share its zone and received requests too"
	case len(c.byKey) == 0 && len(c.ambiguous) > 0:
		return "requests failed, or another limit with the same status may have refused them"
	}
	return ""
}

// add adds a request. known is false if its key is unknown.
func (c *collection) add(j *check.RequestRoute, hit history.Hit) (known bool) {
	if !c.routes[j.Key] {
		if zone := findSharing(j.Route, c.limit); zone != nil {
			c.bursts[zone.Burst] = true
		}
		return true
	}
	key, known := limitKey(c.h, c.limit.Key, hit)
	if !known {
		return false
	}
	load := c.h.Plan.Phases[hit.Phase]
	contested := hasRival(j.Route, c.limit, load)
	if key == "" && c.limit.Exempt.IsSet() {
		if refused := hit.Server == "" && hit.Code == c.limit.Status; refused && !contested {
			c.unexpected.Add("request %d was refused with an empty key, which is not limited", hit.Seq)
		}
		return true
	}
	if load.ViaPeer != "" {
		key += " through " + load.ViaPeer
	}
	if contested || hit.Err != "" {
		c.ambiguous[key] = true
	}
	admitted := c.isAdmitted(j, key, hit)
	c.byKey[key] = append(c.byKey[key],
		limitedRequest{stats.TimeBounds{Earliest: hit.Sent - clockLag, Latest: hit.Done}, hit, admitted})
	return true
}

// refusalCodes are the statuses with which limits refuse.
var refusalCodes = []int{403, 429, 503}

// isAdmitted reports whether the limit admitted a request. It marks the key as ambiguous if something else may have
// refused it.
func (c *collection) isAdmitted(j *check.RequestRoute, key string, hit history.Hit) bool {
	if hit.Server != "" {
		return true
	}
	if hit.Code == c.limit.Status {
		return false
	}
	if !slices.Contains(refusalCodes, hit.Code) {
		return true
	}
	// Unknown: what refused the request, and whether the limit counted it.
	if j.Route.Breaker != nil || check.IsDuringFault(c.h, hit) {
		c.ambiguous[key] = true
		return true
	}
	if len(j.Route.ErrorPages) > 0 || len(j.Route.Access) > 0 {
		return true
	}
	c.unexpected.Add("request %d was refused with %d instead of %d", hit.Seq, hit.Code, c.limit.Status)
	return false
}

// findSharing returns a limit of the route in the same zone.
func findSharing(r model.Route, l model.Limit) *model.Limit {
	for i, o := range r.Limits {
		if o.Algorithm == l.Algorithm && o.Name == l.Name && o.Name != "" {
			return &r.Limits[i]
		}
	}
	return nil
}

// latestDecisions returns the latest time at which each request was admitted or refused. An admitted request may be
// delayed after that, but it was decided no later than a refused one that was sent after it, or else within the time of
// the slowest refusal.
func latestDecisions(all []limitedRequest) []time.Duration {
	out, prompt, next := make([]time.Duration, len(all)), slowestRefusal(all), time.Duration(math.MaxInt64)
	for i, a := range slices.Backward(all) {
		if !a.admitted {
			next = min(next, a.hit.Done)
		}
		out[i] = min(a.Latest, decisionSlack+max(a.hit.Sent+prompt, min(next, a.Latest)))
	}
	return out
}
