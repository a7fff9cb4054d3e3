package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var access = Check{
	Name: "access",
	Doc:  "Clients are let in or kept out by their address.",
	Law:  "one request let in that should not be, or the other way, refutes; asked from addresses on both sides",
	Claims: func(cfg lb.Config) []lb.Claim {
		var claims []lb.Claim
		for _, r := range cfg.Routes {
			if len(r.Access) == 0 || r.Answer != nil {
				continue
			}
			var order []string
			for _, a := range r.Access {
				word := "deny"
				if a.Allow {
					word = "allow"
				}
				order = append(order, word+" "+a.From)
			}
			claims = append(claims, lb.Claim{
				ID: id("access", r.Key(), ""), Check: "access", Subject: r.Key(), Pos: r.Access[0].Pos,
				Text: fmt.Sprintf("%s lets in clients by the first rule that fits: %s; others get 403.", r.Key(), strings.Join(order, ", ")),
			})
			if r.Internal {
				claims[len(claims)-1].Text = fmt.Sprintf("%s is not to be reached from outside.", r.Key())
			}
		}
		for _, r := range cfg.Routes {
			if r.Internal && !strings.HasPrefix(r.Path, "@") {
				claims = append(claims, lb.Claim{
					ID: id("access", r.Key(), "internal"), Check: "access", Subject: r.Key(), Pos: r.Pos,
					Text: fmt.Sprintf("%s answers clients with 404: only the balancer itself may ask for it.", r.Key()),
				})
			}
		}
		return distinct(claims)
	},
}
