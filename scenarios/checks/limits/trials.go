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
	// stale is how old the balancer's clock may be when it decides: it reads it once for all that it does at a time.
	stale = 20 * time.Millisecond
	// unheard is how long a request may have been under way before it was decided where its answer waits for its
	// turn, beside what the slowest refusal took.
	unheard = 50 * time.Millisecond
	// off is by how much a limit must be wrong for a run to notice it.
	off = 0.25
	// toSeeRate is how many requests must be let in beyond the first ones to tell a rate from one that is off.
	toSeeRate = 12
	mostTime  = time.Minute
	askers    = 3 // addresses that ask too often
	crowd     = 10
	beyondIt  = 10 // requests more than may be in flight
	dwell     = 400 * time.Millisecond
)

// limitTrials ask too often, or for too much at a time, by clients of their own.
func limitTrials(cfg model.Config, claim plan.Claim, _ check.Terms) []check.Trial {
	g, _ := limitOf(cfg, claim)
	i := slices.IndexFunc(g.Routes, reachable)
	if i < 0 || g.What.DryRun || !judged(g.What) {
		return nil
	}
	r, l := g.Routes[i], g.What
	t := check.Trial{Kind: plan.KindOverload, About: claim.ID, Load: plan.Phase{Requests: []plan.Request{check.RequestTo(r, nil)}}}
	switch {
	case l.Key.IsAddress(): // who believes what clients say of themselves does not limit them
		t.Load.Clients = plan.Clients{Count: askers, Addresses: true}
		t.Load.Keys = plan.Keys{Header: "X-Forwarded-For", Values: slices.Clone(forged)}
	case l.Key.Variable == model.RequestHeader:
		t.Load.Keys = plan.Keys{Header: l.Key.Name, Values: check.MadeUpKeys(askers)}
	default:
		return nil
	}
	if l.Law == model.InFlight {
		return crowdTrial(cfg, t, r, l)
	}
	rate, lasts := pressure(l)
	press(&t, r, l)
	t.Shows = fmt.Sprintf("a limit of %s whose burst or rate is %.0f %% off, keys that share a limit, "+
		"a limit that a forged X-Forwarded-For gets around", claim.Subject, 100*off)
	if keyed := slices.ContainsFunc(r.Limits, byOther); l.Law != model.TokenBucket && !keyed {
		t.Apart, t.About = true, fmt.Sprintf("by address %s for %s", perSecond(rate), units.Span(lasts))
	}
	if l.Law != model.LeakyBucket || l.Delay >= 0 {
		return []check.Trial{t}
	}
	return []check.Trial{t, reloadTrial(t, claim, rate, lasts)}
}

// forged are the addresses that clients claim to have.
var forged = []string{"192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4", "203.0.113.5"}

// reachable reports whether a plain request takes the route to a pool, and may.
func reachable(r model.Route) bool {
	_, ok := r.Askable()
	proxied := r.Pool != "" && r.Redirect == nil
	return ok && proxied && len(r.Access) == 0
}

// byOther reports whether a limit goes by anything else than addresses.
func byOther(l model.Limit) bool { return !l.Key.IsAddress() }

// press has clients ask a route as often as shows a rate.
func press(t *check.Trial, r model.Route, l model.Limit) {
	rate, lasts := pressure(l)
	t.Load.Rate = askers * rate
	t.Load.Count = int(askers * rate * lasts.Seconds())
	t.Load.Concurrency = askers * (l.Burst + 2)
	for _, other := range r.Limits {
		if other.Law == model.InFlight {
			t.Load.Concurrency = min(t.Load.Concurrency, max(1, other.Most-1))
		}
	}
	if l.Law != model.TokenBucket {
		return
	}
	// One after another, or refusals cost tokens, see twoSided.
	t.Load.Clients.Count = min(t.Load.Clients.Count, 1)
	t.Load.Rate, t.Load.Concurrency = 0, 1
	t.Load.Think = time.Duration(float64(time.Second) / rate / 3)
	t.Load.Count /= askers
}

// reloadTrial asks over a reload, by one client.
func reloadTrial(t check.Trial, claim plan.Claim, rate float64, lasts time.Duration) check.Trial {
	t.Kind, t.Reload, t.Shows = plan.KindReload, lasts/2, "buckets that a reload fills, of "+claim.Subject
	t.Load.Requests = slices.Clone(t.Load.Requests)
	t.Load.Fresh, t.Load.Rate, t.Load.Count = true, rate, int(rate*lasts.Seconds())
	if t.Load.Clients.Addresses {
		t.Load.Clients.Count = 1
	} else {
		t.Load.Keys.Values = []string{"key-over-a-reload"}
	}
	return t
}

// pressure is how fast a client asks too often, and for how long it must.
func pressure(l model.Limit) (rate float64, lasts time.Duration) {
	if l.Law == model.CountWindow {
		return 1.15 * l.Rate, l.Window * 3 / 2
	}
	seconds := min(max(3, toSeeRate/l.Rate), mostTime.Seconds())
	return max(3*l.Rate, 1.5*(float64(l.Burst+1)/seconds+l.Rate)), time.Duration(seconds * float64(time.Second))
}

// crowdTrial has more requests in flight than may be, at servers that take their time.
func crowdTrial(cfg model.Config, t check.Trial, r model.Route, l model.Limit) []check.Trial {
	each := l.Most + beyondIt
	for _, other := range r.Limits {
		if other.Law != model.InFlight && check.AdmittedAtOnce(other) > 0 {
			each = min(each, check.AdmittedAtOnce(other))
		}
	}
	pool, ok := cfg.Pool(r.Pool)
	if !ok || each <= l.Most { // another limit refuses before this one can
		return nil
	}
	if l.Key.IsAddress() {
		t.Load.Clients.Count = crowd
	} else {
		t.Load.Keys.Values = check.MadeUpKeys(crowd)
	}
	t.Load.Count = crowd * each
	t.Load.Concurrency = t.Load.Count
	for _, s := range append(check.Rotation(pool), outage.Overflow(pool)...) {
		t.Slow = append(t.Slow, check.Slowed{Host: s.Host, Delay: outage.BearableDelay(cfg, pool, dwell)})
	}
	t.Shows = fmt.Sprintf("one request more than %d at a time let in, or one refused below that, per %s", l.Most, l.Key)
	streams := slices.ContainsFunc(cfg.Listeners, func(o model.Listener) bool { return o.Port == r.Port && o.TLS && o.HTTP2 })
	if !streams || !l.Key.IsAddress() {
		return []check.Trial{t}
	}
	one := t
	one.About, one.Shows = t.About+" by HTTP/2 streams", "the same where all requests come over one connection"
	one.Load.Requests = slices.Clone(t.Load.Requests)
	one.Load.Engine, one.Load.Clients, one.Load.Keys = plan.Vegeta, plan.Clients{}, plan.Keys{}
	one.Load.Count, one.Load.Concurrency = each, each
	return []check.Trial{t, one}
}
