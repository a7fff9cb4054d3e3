package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var backup = Check{
	Name: "backup",
	Doc:  "A backup server gets requests only while no other server of its pool takes any.",
	Law:  "zero of its arrivals while another server is in rotation",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			var claims []lb.Claim
			for _, s := range p.Servers {
				if !s.Backup {
					continue
				}
				claims = append(claims, lb.Claim{
					ID: id("backup", p.Name, nameOf(s)), Check: "backup", Subject: p.Name, Pos: s.Pos, Params: map[string]float64{"share": 0},
					Text: fmt.Sprintf("%s gets no request of %s while %s or any other primary server is up, and all of them when none is.", nameOf(s), p.Name, and(names(rotation(p)))),
				})
			}
			return claims
		})
	},
}
