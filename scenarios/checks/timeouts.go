package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var timeouts = Check{
	Name: "timeouts",
	Doc: "The balancer waits as long as configured for a connection, an answer, a client or a tunnel, no longer and no " +
		"shorter.",
	Law: "the moment at which it gives up, between send and receive, holds the configured time",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.TimeLimit { return r.Timeouts }, func(t lb.TimeLimit) string {
			if t.Implicit {
				t.Pos = lb.Pos{}
			}
			return fmt.Sprint(t)
		})
		var claims []lb.Claim
		for _, g := range found {
			t := g.what
			text := fmt.Sprintf("For requests to %s the balancer waits at most %s to %s; then %s.", g.paths(), span(t.After), t.For, t.Then)
			if t.After == 0 {
				text = fmt.Sprintf("For requests to %s the balancer waits for ever to %s.", g.paths(), t.For)
			}
			claims = append(claims, lb.Claim{
				ID: id("timeouts", g.subject(), strings.ReplaceAll(t.For, " ", "-")), Check: "timeouts", Subject: g.subject(), Pos: t.Pos, Implicit: t.Implicit,
				Params: map[string]float64{"after_s": seconds(t.After)}, Text: text,
			})
		}
		return distinct(claims)
	},
}
