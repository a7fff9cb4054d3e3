package limits

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// limitOf returns the limit of a claim, and the routes that share it.
func limitOf(cfg model.Config, claim plan.Claim) (check.Group[model.Limit], bool) {
	found := limitGroups(cfg)
	for i, c := range limitClaims(cfg) {
		if c.ID == claim.ID {
			return found[i], true
		}
	}
	return check.Group[model.Limit]{}, false
}

// limitKey returns the key of a hit's request; ok is false if lbproof cannot determine it.
func limitKey(h history.History, key model.Key, hit history.Hit) (string, bool) {
	l := h.Plan.Phases[hit.Phase]
	switch key.Variable {
	case model.RequestHeader:
		return check.SentHeader(l, l.Request(hit.Index), key.Name, hit.Index), true
	case model.ServerName:
		return check.HostOf(h, l.Request(hit.Index)), true
	}
	value, ok := check.KeyOf(h, key, hit)
	return check.FormatKey(key, value), ok
}

var Limits = check.Check{
	Name: plan.CheckLimits,
	Doc:  "Requests above a rate or concurrency limit are refused, and no others, per key.",
	Law: "admitted requests lie within the bounds that send and response times leave for leaky bucket (nginx), " +
		"frequency counter (HAProxy) or token bucket (Traefik); false alarm rate 0",
	Claims:       limitClaims,
	Requirements: limitRequirements,
	Judge:        judgeLimits,
}

// limitGroups returns the limits, each with the routes that share it.
func limitGroups(cfg model.Config) []check.Group[model.Limit] {
	limits := func(r model.Route) []model.Limit { return r.Limits }
	return check.GroupRoutes(cfg, limits, func(l model.Limit) string { return fmt.Sprint(l) })
}

func limitClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, g := range limitGroups(cfg) {
		l := g.What
		claims = append(claims, plan.Claim{
			ID:    check.ClaimID(plan.CheckLimits, g.Subject(), limitName(l)),
			Check: plan.CheckLimits, Subject: g.Subject(), Detail: limitName(l), Pos: l.Pos,
			Params: limitParams(l), Text: limitText(g), Assumptions: limitAssumptions(l),
		})
	}
	return check.DistinctIDs(claims)
}

func limitName(l model.Limit) string { return cmp.Or(l.Name, string(l.Algorithm)) }

func limitParams(l model.Limit) plan.Params {
	p := plan.Params{plan.ParamStatus: plan.Amount(l.Status)}
	if l.Rate > 0 {
		p[plan.ParamRate] = plan.Amount(l.Rate)
	}
	switch l.Algorithm {
	case model.InFlight:
		p[plan.ParamMaxConcurrent] = plan.Amount(l.MaxInFlight)
	case model.LeakyBucket:
		p[plan.ParamBurst] = plan.Amount(l.Burst + 1)
		if l.Rate > 0 { // its zone is declared
			p[plan.ParamSpacing] = plan.Amount(math.Round(1e6/l.Rate) / 1e3)
		}
	default:
		p[plan.ParamBurst] = plan.Amount(l.Burst)
	}
	return p
}

// keyName returns the name of a key without an article, as in "per client address".
func keyName(key model.Key) string { return strings.TrimPrefix(key.String(), "the ") }

func limitText(g check.Group[model.Limit]) string {
	l := g.What
	key := keyName(l.Key)
	status := fmt.Sprintf("refused with %d", l.Status)
	if l.StatusImplicit {
		status = fmt.Sprintf("refused with the default %d", l.Status)
	}
	if l.DryRun {
		status = "only logged (dry run)"
	}
	switch l.Algorithm {
	case model.InFlight:
		return fmt.Sprintf("Requests to %s are limited to %d in flight per %s; more are %s.", g.Paths(), l.MaxInFlight,
			key, status)
	case model.CountWindow:
		return fmt.Sprintf("Requests to %s are limited to %d in %s per %s; more are %s and count too: "+
			"a client that continues at %s or faster stays refused.",
			g.Paths(), l.Burst, units.Duration(l.Window), key, status, formatRate(l.Rate))
	case model.TokenBucket:
		return fmt.Sprintf("Requests to %s are limited to %d at once and then %s, per %s; more are %s.",
			g.Paths(), l.Burst, formatRate(l.Rate), key, status)
	}
	if l.Rate == 0 {
		return fmt.Sprintf("Requests to %s are limited by %s, whose rate is not declared.", g.Paths(), l.Name)
	}
	wait := ""
	switch {
	case l.Burst == 0:
		const text = "; without burst a request less than %.4g ms after the last one is refused"
		wait = fmt.Sprintf(text, 1000/l.Rate)
	case l.Delay == 0:
		wait = fmt.Sprintf("; requests above the rate are delayed by up to %.4g s", float64(l.Burst)/l.Rate)
	case l.Delay > 0:
		wait = fmt.Sprintf("; requests beyond %d are delayed", l.Delay)
	}
	return fmt.Sprintf("Requests to %s are limited to %d at once and then %s, per %s%s; more are %s.",
		g.Paths(), l.Burst+1, formatRate(l.Rate), key, wait, status)
}

// formatRate formats a rate per second or per minute.
func formatRate(rate float64) string {
	if rate < 5 && rate > 0 {
		return fmt.Sprintf("%.4g per minute", rate*60)
	}
	return fmt.Sprintf("%.4g per second", rate)
}

func limitAssumptions(l model.Limit) []string {
	if !l.Exempt.IsSet() {
		return nil
	}
	const text = "the key %s is not empty: requests with an empty key (%s) are not limited"
	return []string{fmt.Sprintf(text, l.Key, l.Exempt)}
}
