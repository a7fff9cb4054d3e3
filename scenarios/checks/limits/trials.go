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
	// unheard is how long a request may have been under way before it was decided where its answer waits for its turn, beside what
	// the slowest refusal took.
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
	i := slices.IndexFunc(g.Routes, func(r model.Route) bool {
		_, ok := r.Askable()
		return ok && r.Pool != "" && r.Redirect == nil && len(r.Access) == 0
	})
	if i < 0 || g.What.DryRun || !judged(g.What) {
		return nil
	}
	r, l := g.Routes[i], g.What
	t := check.Trial{Kind: plan.KindOverload, About: claim.ID, Load: plan.Phase{Requests: []plan.Request{check.RequestTo(r, nil)}}}
	if l.Key.IsAddress() { // who believes what clients say of themselves does not limit them
		t.Load.Clients = plan.Clients{Count: askers, Addresses: true}
		t.Load.Keys = plan.Keys{Header: "X-Forwarded-For", Values: []string{"192.0.2.1", "192.0.2.2", "198.51.100.3", "203.0.113.4", "203.0.113.5"}}
	} else if l.Key.Variable == model.RequestHeader {
		t.Load.Keys = plan.Keys{Header: l.Key.Name, Values: check.MadeUpKeys(askers)}
	} else {
		return nil
	}
	if l.Law == model.InFlight {
		return crowdTrial(cfg, t, r, l)
	}
	rate, lasts := pressure(l)
	t.Load.Rate, t.Load.Count, t.Load.Concurrency = askers*rate, int(askers*rate*lasts.Seconds()), askers*(l.Burst+2)
	for _, other := range r.Limits {
		if other.Law == model.InFlight {
			t.Load.Concurrency = min(t.Load.Concurrency, max(1, other.Most-1))
		}
	}
	if l.Law == model.TokenBucket { // one after another, or refusals cost tokens, see twoSided
		t.Load.Clients.Count, t.Load.Rate, t.Load.Concurrency, t.Load.Think = min(t.Load.Clients.Count, 1), 0, 1, time.Duration(float64(time.Second)/rate/3)
		t.Load.Count /= askers
	}
	what := claim.ID
	if t.Apart = l.Law != model.TokenBucket && !slices.ContainsFunc(r.Limits, func(o model.Limit) bool { return !o.Key.IsAddress() }); t.Apart {
		what = fmt.Sprintf("by address %s for %s", perSecond(rate), units.Span(lasts))
	}
	t.About = what
	t.Shows = fmt.Sprintf("a limit of %s whose burst or rate is %.0f %% off, keys that share a limit, a limit that a forged X-Forwarded-For gets around", claim.Subject, 100*off)
	if l.Law != model.LeakyBucket || l.Delay >= 0 {
		return []check.Trial{t}
	}
	again := t
	again.Kind, again.Reload, again.Shows = plan.KindReload, lasts/2, "buckets that a reload fills, of "+claim.Subject
	again.Load.Requests = slices.Clone(t.Load.Requests)
	again.Load.Fresh, again.Load.Rate, again.Load.Count = true, rate, int(rate*lasts.Seconds())
	if again.Load.Clients.Addresses {
		again.Load.Clients.Count = 1
	} else {
		again.Load.Keys.Values = []string{"key-over-a-reload"}
	}
	return []check.Trial{t, again}
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
	one.Load.Engine, one.Load.Clients, one.Load.Keys, one.Load.Count, one.Load.Concurrency = plan.Vegeta, plan.Clients{}, plan.Keys{}, each, each
	return []check.Trial{t, one}
}
