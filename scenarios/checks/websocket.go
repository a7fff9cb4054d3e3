package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var websocket = Check{
	Name: "websocket",
	Doc:  "A WebSocket handshake passes (101) and messages come back.",
	Law:  "one handshake refused or one message lost refutes",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []*lb.Upgrade {
			if r.Upgrade == nil || r.Pool == "" {
				return nil
			}
			return []*lb.Upgrade{r.Upgrade}
		}, func(u *lb.Upgrade) string { return fmt.Sprint(u.Pos) })
		var claims []lb.Claim
		for _, g := range found {
			claims = append(claims, lb.Claim{
				ID: id("websocket", g.subject(), ""), Check: "websocket", Subject: g.subject(), Pos: g.what.Pos, Implicit: cfg.Balancer != "nginx",
				Text: fmt.Sprintf("WebSocket connections to %s are let through to %s.", g.paths(), g.routes[0].Pool),
			})
		}
		return claims
	},
}
