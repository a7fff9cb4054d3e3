package checks

import (
	"fmt"
	"math"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var limits = Check{
	Name: "limits",
	Doc:  "Requests beyond a rate or a number at a time are refused, no others, key by key.",
	Law: "nginx's leaky bucket admits a set of requests iff any part of it is at most burst+1+rate*time; HAProxy's window " +
		"counts refused requests too; Traefik's bucket has room for half a request more than its burst: what is let in lies in the interval " +
		"that the times of sending and answering leave, and its false alarm rate is 0",
	Claims: limitClaims,
	Trials: limitTrials,
	Judge:  judgeLimits,
}

// limitGroups are the limits, each with the routes that share it.
func limitGroups(cfg model.Config) []group[model.Limit] {
	return grouped(cfg, func(r model.Route) []model.Limit { return r.Limits }, func(l model.Limit) string { return fmt.Sprint(l) })
}

func limitClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, g := range limitGroups(cfg) {
		l := g.what
		name := l.Name
		if name == "" {
			name = l.Law
		}
		claims = append(claims, plan.Claim{
			ID: id("limits", g.subject(), name), Check: "limits", Subject: g.subject(), Pos: l.Pos, Params: limitParams(l), Text: limitText(cfg, g), Assumes: limitAssumes(l),
		})
	}
	return distinct(claims)
}

func limitParams(l model.Limit) map[string]float64 {
	p := map[string]float64{"status": float64(l.Status)}
	if l.Rate > 0 {
		p["rate_per_s"] = l.Rate
	}
	switch l.Law {
	case model.InFlight:
		p["most"] = float64(l.Most)
	case model.LeakyBucket:
		p["at_once"] = float64(l.Burst + 1)
		if l.Rate > 0 { // its zone is known
			p["spacing_ms"] = math.Round(1e6/l.Rate) / 1e3
		}
	default:
		p["at_once"] = float64(l.Burst)
	}
	return p
}

func limitText(cfg model.Config, g group[model.Limit]) string {
	l := g.what
	status := fmt.Sprintf("refused with %d", l.Status)
	if !l.StatusIsSet && cfg.Balancer == "nginx" {
		status += " (the default, not 429)"
	}
	if l.DryRun {
		status = "only written to the log (dry run)"
	}
	switch l.Law {
	case model.InFlight:
		return fmt.Sprintf("Requests to %s: at most %d at a time per %s; more are %s.", g.paths(), l.Most, l.Key, status)
	case model.CountWindow:
		return fmt.Sprintf("Requests to %s: %d in %s per %s; more are %s, and count too: whoever goes on at %s or faster stays refused.",
			g.paths(), l.Burst, span(l.Window), l.Key, status, perSecond(l.Rate))
	case model.TokenBucket:
		return fmt.Sprintf("Requests to %s: %d at once and %s after that, per %s; more are %s.", g.paths(), l.Burst, perSecond(l.Rate), l.Key, status)
	}
	if l.Rate == 0 {
		return fmt.Sprintf("Requests to %s are limited by %s, whose rate nothing declares.", g.paths(), l.Name)
	}
	wait := ""
	switch {
	case l.Burst == 0:
		wait = fmt.Sprintf("; without burst the next request must come %.4g ms later, so that simultaneous ones are refused", 1000/l.Rate)
	case l.Delay == 0:
		wait = fmt.Sprintf("; those beyond the rate wait, up to %.4g s", float64(l.Burst)/l.Rate)
	case l.Delay > 0:
		wait = fmt.Sprintf("; those beyond %d wait", l.Delay)
	}
	return fmt.Sprintf("Requests to %s: %d at once and %s after that, per %s%s; more are %s.", g.paths(), l.Burst+1, perSecond(l.Rate), l.Key, wait, status)
}

// perSecond prints a rate as people write it.
func perSecond(rate float64) string {
	if rate < 5 && rate > 0 {
		return fmt.Sprintf("%.4g per minute", rate*60)
	}
	return fmt.Sprintf("%.4g per second", rate)
}

func limitAssumes(l model.Limit) []string {
	if l.Free == "" {
		return nil
	}
	return []string{fmt.Sprintf("the key %s is not empty: requests with an empty one (%s) are not limited", l.Key, l.Free)}
}
