package limits

import (
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

const (
	// clockLag is how old the balancer's clock may be when it decides: it reads it once for all that it does at a time.
	clockLag = 20 * time.Millisecond
	// decisionSlack is how long a request may have been under way before it was decided where its answer waits for its
	// turn, beside what the slowest refusal took.
	decisionSlack = 50 * time.Millisecond
	// tolerance is by how much a limit must be wrong for a run to notice it.
	tolerance = 0.25
	// minAdmitted is how many requests must be let in beyond the first ones to tell a rate from one that is off.
	minAdmitted     = 12
	maxDuration     = time.Minute
	overloadClients = 3 // addresses that ask too often
	inFlightClients = 10
	excessRequests  = 10 // requests more than may be in flight
	serviceTime     = 400 * time.Millisecond
)

// limitRequirements ask too often, or for too much at a time, by clients of their own.
func limitRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	g, _ := limitOf(cfg, claim)
	i := slices.IndexFunc(g.Routes, isReachable)
	if i < 0 || g.What.DryRun || !hasKnownLaw(g.What) {
		return nil
	}
	r, l := g.Routes[i], g.What
	t := check.Requirement{Kind: plan.KindOverload, About: claim.ID, Phase: plan.Phase{Requests: []plan.Request{check.RequestTo(r, nil)}}}
	switch {
	case l.Key.IsAddress(): // who believes what clients say of themselves does not limit them
		t.Phase.Clients = plan.Clients{Count: overloadClients, OwnAddresses: true}
		t.Phase.Keys = plan.Keys{Header: "X-Forwarded-For", Values: slices.Clone(forgedAddresses)}
	case l.Key.Variable == model.RequestHeader:
		t.Phase.Keys = plan.Keys{Header: l.Key.Name, Values: check.GenerateKeys(overloadClients)}
	default:
		return nil
	}
	if l.Algorithm == model.InFlight {
		return inFlightRequirements(cfg, t, r, l)
	}
	rate, lasts := overloadOf(l)
	setOverload(&t, r, l)
	t.Detects = fmt.Sprintf("a limit of %s whose burst or rate is %.0f %% off, keys that share a limit, "+
		"a limit that a forged X-Forwarded-For gets around", claim.Subject, 100*tolerance)
	if keyed := slices.ContainsFunc(r.Limits, hasOtherKey); l.Algorithm != model.TokenBucket && !keyed {
		t.Isolated, t.About = true, fmt.Sprintf("by address %s for %s", formatRate(rate), units.Duration(lasts))
	}
	if l.Algorithm != model.LeakyBucket || l.Delay >= 0 {
		return []check.Requirement{t}
	}
	return []check.Requirement{t, reloadRequirement(t, claim, rate, lasts)}
}

// forgedAddresses are the addresses that clients claim to have.
var forgedAddresses = []string{"192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4", "203.0.113.5"}

// isReachable reports whether a plain request takes the route to a pool, and may.
func isReachable(r model.Route) bool {
	_, ok := r.ProbeHost()
	proxied := r.Pool != "" && r.Redirect == nil
	return ok && proxied && len(r.Access) == 0
}

// hasOtherKey reports whether a limit goes by anything else than addresses.
func hasOtherKey(l model.Limit) bool { return !l.Key.IsAddress() }

// setOverload has clients ask a route as often as shows a rate.
func setOverload(t *check.Requirement, r model.Route, l model.Limit) {
	rate, lasts := overloadOf(l)
	t.Phase.Rate = overloadClients * rate
	t.Phase.Count = int(overloadClients * rate * lasts.Seconds())
	t.Phase.Concurrency = overloadClients * (l.Burst + 2)
	for _, other := range r.Limits {
		if other.Algorithm == model.InFlight {
			t.Phase.Concurrency = min(t.Phase.Concurrency, max(1, other.MaxInFlight-1))
		}
	}
	if l.Algorithm != model.TokenBucket {
		return
	}
	// One after another, or refusals cost tokens, see twoSided.
	t.Phase.Clients.Count = min(t.Phase.Clients.Count, 1)
	t.Phase.Rate, t.Phase.Concurrency = 0, 1
	t.Phase.ThinkTime = time.Duration(float64(time.Second) / rate / 3)
	t.Phase.Count /= overloadClients
}

// reloadRequirement asks over a reload, by one client.
func reloadRequirement(t check.Requirement, claim plan.Claim, rate float64, lasts time.Duration) check.Requirement {
	t.Kind, t.ReloadAt, t.Detects = plan.KindReload, lasts/2, "buckets that a reload fills, of "+claim.Subject
	t.Phase.Requests = slices.Clone(t.Phase.Requests)
	t.Phase.NewConnections, t.Phase.Rate, t.Phase.Count = true, rate, int(rate*lasts.Seconds())
	if t.Phase.Clients.OwnAddresses {
		t.Phase.Clients.Count = 1
	} else {
		t.Phase.Keys.Values = []string{"key-over-a-reload"}
	}
	return t
}

// overloadOf is how fast a client asks too often, and for how long it must.
func overloadOf(l model.Limit) (rate float64, lasts time.Duration) {
	if l.Algorithm == model.CountWindow {
		return 1.15 * l.Rate, l.Window * 3 / 2
	}
	seconds := min(max(3, minAdmitted/l.Rate), maxDuration.Seconds())
	return max(3*l.Rate, 1.5*(float64(l.Burst+1)/seconds+l.Rate)), time.Duration(seconds * float64(time.Second))
}

// inFlightRequirements has more requests in flight than may be, at servers that take their time.
func inFlightRequirements(cfg model.Config, t check.Requirement, r model.Route, l model.Limit) []check.Requirement {
	each := l.MaxInFlight + excessRequests
	for _, other := range r.Limits {
		if other.Algorithm != model.InFlight && check.AdmittedAtOnce(other) > 0 {
			each = min(each, check.AdmittedAtOnce(other))
		}
	}
	pool, ok := cfg.Pool(r.Pool)
	if !ok || each <= l.MaxInFlight { // another limit refuses before this one can
		return nil
	}
	if l.Key.IsAddress() {
		t.Phase.Clients.Count = inFlightClients
	} else {
		t.Phase.Keys.Values = check.GenerateKeys(inFlightClients)
	}
	t.Phase.Count = inFlightClients * each
	t.Phase.Concurrency = t.Phase.Count
	for _, s := range append(check.Rotation(pool), outage.OverflowBackups(pool)...) {
		t.SlowServers = append(t.SlowServers, check.SlowServer{Host: s.Host, Delay: outage.ToleratedDelay(cfg, pool, serviceTime)})
	}
	t.Detects = fmt.Sprintf("one request more than %d at a time let in, or one refused below that, per %s", l.MaxInFlight, l.Key)
	streams := slices.ContainsFunc(cfg.Listeners, func(o model.Listener) bool { return o.Port == r.Port && o.TLS && o.HTTP2 })
	if !streams || !l.Key.IsAddress() {
		return []check.Requirement{t}
	}
	one := t
	one.About, one.Detects = t.About+" by HTTP/2 streams", "the same where all requests come over one connection"
	one.Phase.Requests = slices.Clone(t.Phase.Requests)
	one.Phase.Engine, one.Phase.Clients, one.Phase.Keys = plan.Vegeta, plan.Clients{}, plan.Keys{}
	one.Phase.Count, one.Phase.Concurrency = each, each
	return []check.Requirement{t, one}
}
