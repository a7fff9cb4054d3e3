package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var sticky = Check{
	Name: "sticky",
	Doc:  "A client that brings back its cookie gets the same server while that one is up.",
	Law:  "every arrival of one cookie at one server, and the cookie's attributes as configured",
	Claims: func(cfg lb.Config) []lb.Claim {
		var claims []lb.Claim
		add := func(name string, s *lb.Sticky) {
			if s == nil {
				return
			}
			with := ""
			if len(s.With) > 0 {
				with = " (" + strings.Join(s.With, " ") + ")"
			}
			text := fmt.Sprintf("A client of %s stays with its server%s.", name, with)
			if s.Cookie != "" {
				text = fmt.Sprintf("A client of %s that brings back the cookie %s%s gets the same server while that one is up, and another when it is not.", name, s.Cookie, with)
			}
			claims = append(claims, lb.Claim{ID: id("sticky", name, ""), Check: "sticky", Subject: name, Pos: s.Pos, Text: text})
		}
		for _, p := range cfg.Pools {
			add(p.Name, p.Sticky)
		}
		for _, s := range cfg.Splits {
			add(s.Name, s.Sticky)
		}
		return claims
	},
}
