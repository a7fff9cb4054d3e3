package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var compression = Check{
	Name: "compression",
	Doc:  "Responses of the configured types and sizes come compressed to clients that accept it, others as they are.",
	Law:  "both sides of the size, one listed and one other type",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []*lb.Compress {
			if r.Compress == nil || r.Internal {
				return nil
			}
			return []*lb.Compress{r.Compress}
		}, func(c *lb.Compress) string { return fmt.Sprint(c.Pos) })
		var claims []lb.Claim
		for _, g := range found {
			types := "any type"
			if len(g.what.Types) > 0 {
				types = strings.Join(g.what.Types, ", ")
			}
			vary := ""
			if g.what.Vary {
				vary = ", with Vary: Accept-Encoding"
			}
			claims = append(claims, lb.Claim{
				ID: id("compression", g.subject(), ""), Check: "compression", Subject: g.subject(), Pos: g.what.Pos, Params: map[string]float64{"least_bytes": float64(g.what.Least)},
				Text: fmt.Sprintf("Responses of %s are compressed from %d bytes on (%s) for clients that accept it%s.", g.paths(), g.what.Least, types, vary),
			})
		}
		return claims
	},
}
