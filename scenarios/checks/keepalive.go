package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var keepalive = Check{
	Name: "keepalive",
	Doc:  "Connections to backends are kept and used again, or are not, as configured.",
	Law:  "connections counted at the backends against requests",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			k := p.Keepalive
			if k == nil {
				return nil
			}
			text := fmt.Sprintf("Connections to the servers of %s are used again.", p.Name)
			switch {
			case k.Never:
				text = fmt.Sprintf("Each request of %s has a connection to its server of its own.", p.Name)
			case k.Idle > 0:
				text = fmt.Sprintf("Connections to the servers of %s are used again; %d idle ones are kept per process", p.Name, k.Idle)
				if k.Requests > 0 {
					text += fmt.Sprintf(", each for %d requests and %s", k.Requests, span(k.Within))
				}
				text += "."
			}
			return []lb.Claim{{
				ID: id("keepalive", p.Name, ""), Check: "keepalive", Subject: p.Name, Pos: k.Pos, Implicit: k.Implicit, Text: text,
				Params: map[string]float64{"idle": float64(k.Idle), "requests": float64(k.Requests)},
			}}
		})
	},
}
