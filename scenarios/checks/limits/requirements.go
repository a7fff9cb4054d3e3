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
	// clockLag is the possible age of the balancer's clock when it decides: it reads the clock once per batch of
	// events.
	clockLag = 20 * time.Millisecond
	// decisionSlack is how long a delayed request may have been in flight before it was decided, in addition to the
	// slowest refusal.
	decisionSlack = 50 * time.Millisecond
	// tolerance is the relative error of a limit that a run must detect.
	tolerance = 0.25
	// minAdmitted is the number of admitted requests beyond the first burst that distinguishes a rate from a wrong one.
	minAdmitted     = 12
	maxDuration     = time.Minute
	overloadClients = 3 // client addresses above the rate
	inFlightClients = 10
	excessRequests  = 10 // requests in flight above the limit
	serviceTime     = 400 * time.Millisecond
)

// limitRequirements exceed a rate or a concurrency limit with clients of their own.
func limitRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	g, _ := limitOf(cfg, claim)
	i := slices.IndexFunc(g.Routes, isReachable)
	if i < 0 || g.What.DryRun || !hasKnownLaw(g.What) {
		return nil
	}
	r, l := g.Routes[i], g.What
	t := check.Requirement{
		Kind: plan.KindOverload, About: shortName(cfg, claim),
		Phase: plan.Phase{Requests: []plan.Request{check.RequestTo(r, nil)}},
	}
	switch {
	case l.Key.IsAddress(): // a balancer that trusts the header does not limit them
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
	rate, duration := overloadOf(l)
	setOverload(&t, r, l)
	t.Detects = fmt.Sprintf("a burst or rate of %s off by %.0f %%, keys that share a limit, "+
		"a bypass with a forged X-Forwarded-For", claim.Subject, 100*tolerance)
	if keyed := slices.ContainsFunc(r.Limits, hasOtherKey); l.Algorithm != model.TokenBucket && !keyed {
		t.Isolated, t.About = true, fmt.Sprintf("by address %s for %s", formatShortRate(rate), units.Duration(duration))
	}
	if l.Algorithm != model.LeakyBucket || l.Delay >= 0 {
		return []check.Requirement{t}
	}
	return []check.Requirement{t, reloadRequirement(t, claim, rate, duration)}
}

// shortName identifies a limit in the titles of its phases: by its name, and its number among limits with that name.
func shortName(cfg model.Config, claim plan.Claim) string {
	const longest = 18 // so that titles have at most 40 characters
	groups, count := limitGroups(cfg), map[string]int{}
	for i, c := range limitClaims(cfg) {
		name := []rune(limitName(groups[i].What))
		name = name[:min(len(name), longest)]
		number := count[string(name)] + 1
		count[string(name)] = number
		switch {
		case c.ID != claim.ID:
		case number == 1:
			return string(name)
		default:
			return fmt.Sprintf("%s %d", string(name), number)
		}
	}
	return claim.ID
}

// formatShortRate formats a rate for a phase's title.
func formatShortRate(rate float64) string {
	if rate < 5 {
		return fmt.Sprintf("%.3g/min", 60*rate)
	}
	return fmt.Sprintf("%.3g/s", rate)
}

// forgedAddresses are the addresses that clients claim to have.
var forgedAddresses = []string{"192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4", "203.0.113.5"}

// isReachable reports whether a plain request takes the route to a pool and is admitted.
func isReachable(r model.Route) bool {
	_, ok := r.ProbeHost()
	proxied := r.Pool != "" && r.Redirect == nil
	return ok && proxied && len(r.Access) == 0
}

// hasOtherKey reports whether the key of a limit is not the client address.
func hasOtherKey(l model.Limit) bool { return !l.Key.IsAddress() }

// setOverload sets the load that shows a rate.
func setOverload(t *check.Requirement, r model.Route, l model.Limit) {
	rate, duration := overloadOf(l)
	t.Phase.Rate = overloadClients * rate
	t.Phase.Count = int(overloadClients * rate * duration.Seconds())
	t.Phase.Concurrency = overloadClients * (l.Burst + 2)
	for _, other := range r.Limits {
		if other.Algorithm == model.InFlight {
			t.Phase.Concurrency = min(t.Phase.Concurrency, max(1, other.MaxInFlight-1))
		}
	}
	if l.Algorithm != model.TokenBucket {
		return
	}
	// Sequential, because concurrent refusals cost tokens; see hasLowerBound.
	t.Phase.Clients.Count = min(t.Phase.Clients.Count, 1)
	t.Phase.Rate, t.Phase.Concurrency = 0, 1
	t.Phase.ThinkTime = time.Duration(float64(time.Second) / rate / 3)
	t.Phase.Count /= overloadClients
}

// reloadRequirement sends one client's requests across a reload.
func reloadRequirement(t check.Requirement, claim plan.Claim, rate float64, duration time.Duration) check.Requirement {
	t.Kind, t.ReloadAt, t.Detects = plan.KindReload, duration/2, "buckets of "+claim.Subject+" that a reload refills"
	t.Phase.Requests = slices.Clone(t.Phase.Requests)
	t.Phase.NewConnections, t.Phase.Rate, t.Phase.Count = true, rate, int(rate*duration.Seconds())
	if t.Phase.Clients.OwnAddresses {
		t.Phase.Clients.Count = 1
	} else {
		t.Phase.Keys.Values = []string{"key-over-a-reload"}
	}
	return t
}

// overloadOf returns the rate of a client above the limit, and the time for which it must last.
func overloadOf(l model.Limit) (rate float64, duration time.Duration) {
	if l.Algorithm == model.CountWindow {
		return 1.15 * l.Rate, l.Window * 3 / 2
	}
	seconds := min(max(3, minAdmitted/l.Rate), maxDuration.Seconds())
	return max(3*l.Rate, 1.5*(float64(l.Burst+1)/seconds+l.Rate)), time.Duration(seconds * float64(time.Second))
}

// inFlightRequirements keep more requests in flight than allowed, at slowed servers.
func inFlightRequirements(cfg model.Config, t check.Requirement, r model.Route, l model.Limit) []check.Requirement {
	each := l.MaxInFlight + excessRequests
	for _, other := range r.Limits {
		if other.Algorithm != model.InFlight && check.AdmittedAtOnce(other) > 0 {
			each = min(each, check.AdmittedAtOnce(other))
		}
	}
	pool, ok := cfg.Pool(r.Pool)
	if !ok || each <= l.MaxInFlight { // another limit refuses first
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
		t.SlowServers = append(t.SlowServers,
			check.SlowServer{Host: s.Host, Delay: outage.ToleratedDelay(cfg, pool, serviceTime)})
	}
	t.Detects = fmt.Sprintf("more than %d in flight admitted, or one refused below that, per %s",
		l.MaxInFlight, keyName(l.Key))
	streams := slices.ContainsFunc(cfg.Listeners,
		func(o model.Listener) bool { return o.Port == r.Port && o.TLS && o.HTTP2 })
	if !streams || !l.Key.IsAddress() {
		return []check.Requirement{t}
	}
	one := t
	one.About, one.Detects = t.About+" (HTTP/2)", "the same with all requests over one connection"
	one.Phase.Requests = slices.Clone(t.Phase.Requests)
	one.Phase.Engine, one.Phase.Clients, one.Phase.Keys = plan.Vegeta, plan.Clients{}, plan.Keys{}
	one.Phase.Count, one.Phase.Concurrency = each, each
	return []check.Requirement{t, one}
}
