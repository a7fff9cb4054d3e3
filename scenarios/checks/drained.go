package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var drained = Check{
	Name: "drained",
	Doc:  "A server that is marked down, or has the weight 0, gets no new request.",
	Law:  "zero arrivals",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			var claims []lb.Claim
			for _, s := range p.Servers {
				if !s.Down && !s.Drain {
					continue
				}
				why := "it is marked down"
				if s.Drain {
					why = "its weight is 0"
				}
				claims = append(claims, lb.Claim{
					ID: id("drained", p.Name, nameOf(s)), Check: "drained", Subject: p.Name, Pos: s.Pos, Params: map[string]float64{"share": 0},
					Text: fmt.Sprintf("%s gets no new request of %s: %s.", nameOf(s), p.Name, why),
				})
			}
			return claims
		})
	},
}
