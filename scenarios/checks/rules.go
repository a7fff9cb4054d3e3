package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var rules = Check{
	Name: "rules",
	Doc:  "Requests that meet a condition are refused, redirected or rewritten.",
	Law:  "one on either side of the condition that is treated like the other refutes",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.Rule { return r.Rules }, func(r lb.Rule) string { return fmt.Sprint(r) })
		var claims []lb.Claim
		for _, g := range found {
			r := g.what
			text := fmt.Sprintf("A request to %s is answered %d where %s.", g.paths(), r.Code, r.When)
			switch {
			case r.Code == 0:
				text = fmt.Sprintf("A request to %s reaches the backend with %s where %s.", g.paths(), r.To, r.When)
				if r.When == lb.Always {
					text = fmt.Sprintf("A request to %s reaches the backend with %s.", g.paths(), r.To)
				}
			case r.To != "":
				text = fmt.Sprintf("A request to %s is redirected with %d to %s where %s.", g.paths(), r.Code, r.To, r.When)
			}
			claims = append(claims, lb.Claim{
				ID: id("rules", g.subject(), ""), Check: "rules", Subject: g.subject(), Pos: r.Pos, Text: text, Params: map[string]float64{"code": float64(r.Code)},
			})
		}
		return distinct(claims)
	},
}
