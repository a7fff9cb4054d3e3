package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var redirects = Check{
	Name: "redirects",
	Doc:  "Requests are sent elsewhere with the configured status and Location, and no backend sees them.",
	Law:  "one that is not refutes, for GET and POST",
	Claims: func(cfg lb.Config) []lb.Claim {
		var claims []lb.Claim
		for _, r := range cfg.Routes {
			if r.Redirect == nil || r.Internal {
				continue
			}
			text := fmt.Sprintf("%s is redirected with %d to %s; no backend sees it.", r.Key(), r.Redirect.Code, r.Redirect.To)
			if r.Redirect.Code == 301 || r.Redirect.Code == 302 {
				text += " A POST becomes a GET on its way."
			}
			claims = append(claims, lb.Claim{
				ID: id("redirects", r.Key(), ""), Check: "redirects", Subject: r.Key(), Pos: r.Redirect.Pos, Text: text,
				Params: map[string]float64{"code": float64(r.Redirect.Code)},
			})
		}
		return distinct(claims)
	},
}
