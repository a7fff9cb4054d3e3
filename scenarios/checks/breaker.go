package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var breaker = Check{
	Name: "breaker",
	Doc:  "After too many failures all requests are refused for a while, then let in little by little.",
	Law: "trips within checkPeriod of the moment at which the condition holds over the last ten seconds; refuses all for " +
		"fallbackDuration; then the admitted share grows to a half over recoveryDuration",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []*lb.Breaker {
			if r.Breaker == nil {
				return nil
			}
			return []*lb.Breaker{r.Breaker}
		}, func(b *lb.Breaker) string { return fmt.Sprint(b.Pos) })
		var claims []lb.Claim
		for _, g := range found {
			b := g.what
			claims = append(claims, lb.Claim{
				ID: id("breaker", g.subject(), ""), Check: "breaker", Subject: g.subject(), Pos: b.Pos,
				Params: map[string]float64{"open_s": seconds(b.Open), "recovery_s": seconds(b.Recovery), "check_s": seconds(b.Every), "code": float64(b.Code)},
				Text: fmt.Sprintf("All requests to %s are refused with %d for %s once %s holds (looked at every %s), then more and more are let in for %s.",
					g.paths(), b.Code, span(b.Open), b.Trips, span(b.Every), span(b.Recovery)),
				Assumes: []string{"there is no least number of requests: on a quiet route the first failure may trip it"},
			})
		}
		return claims
	},
}
