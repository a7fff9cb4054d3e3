package checks

import (
	"fmt"
	"net/netip"

	"github.com/lbproof/lbproof/internal/lb"
)

var resolve = Check{
	Name: "resolve",
	Doc:  "The names of servers are looked up when the configuration says.",
	Law:  "after a name's address has changed, requests arrive at the old one or at the new one, as predicted",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			if p.Resolve == nil || !named(p) {
				return nil
			}
			text := fmt.Sprintf("The server names of %s are looked up once, at start: a server that gets another address is not found again until a reload.", p.Name)
			if p.Resolve.Every != 0 {
				text = fmt.Sprintf("The server names of %s are looked up for every new connection.", p.Name)
			}
			return []lb.Claim{{ID: id("resolve", p.Name, ""), Check: "resolve", Subject: p.Name, Pos: p.Resolve.Pos, Implicit: p.Resolve.Implicit, Text: text}}
		})
	},
}

// named says whether a server of the pool is given by name and not by address.
func named(p lb.Pool) bool {
	for _, s := range p.Servers {
		if _, err := netip.ParseAddr(s.Host); err != nil {
			return true
		}
	}
	return false
}
