package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var mirror = Check{
	Name: "mirror",
	Doc:  "A share of the requests is copied to another pool, whose answers nobody sees.",
	Law:  "copies joined to requests by their id; the share keeps to its envelope, and clients are not slowed",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.Share { return r.Mirrors }, func(s lb.Share) string { return fmt.Sprint(s) })
		var claims []lb.Claim
		for _, g := range found {
			claims = append(claims, lb.Claim{
				ID: id("mirror", g.subject(), g.what.Pool), Check: "mirror", Subject: g.subject(), Pos: g.what.Pos, Params: map[string]float64{"share": g.what.Share},
				Text: fmt.Sprintf("%.4g %% of the requests to %s are copied to %s, whose answers reach no client.", 100*g.what.Share, g.paths(), g.what.Pool),
			})
		}
		return claims
	},
}
