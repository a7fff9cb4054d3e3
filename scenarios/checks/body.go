package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var body = Check{
	Name: "body",
	Doc:  "Request bodies up to the limit pass, larger ones get 413.",
	Law:  "both sides of the limit, one byte apart",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.Number {
			if r.MaxBody == nil || r.Internal {
				return nil
			}
			return []lb.Number{*r.MaxBody}
		}, func(n lb.Number) string {
			if n.Implicit {
				n.Pos = lb.Pos{}
			}
			return fmt.Sprint(n)
		})
		var claims []lb.Claim
		for _, g := range found {
			text := fmt.Sprintf("Requests to %s may have a body of up to %s bytes; a larger one gets 413.", g.paths(), number(int(g.what.Value)))
			if g.what.Value == 0 {
				text = fmt.Sprintf("Requests to %s may have a body of any size.", g.paths())
			}
			claims = append(claims, lb.Claim{
				ID: id("body", g.subject(), ""), Check: "body", Subject: g.subject(), Pos: g.what.Pos, Implicit: g.what.Implicit,
				Params: map[string]float64{"bytes": float64(g.what.Value)}, Text: text,
			})
		}
		return distinct(claims)
	},
}
