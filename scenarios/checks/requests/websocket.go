package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var WebSocket = check.Check{
	Name:   plan.CheckWebSocket,
	Doc:    "WebSocket handshakes succeed (101) and messages are echoed.",
	Law:    "one handshake refused or one message lost refutes",
	Probes: websocketProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []*model.Upgrade {
			if r.Upgrade == nil || r.Pool == "" {
				return nil
			}
			return []*model.Upgrade{r.Upgrade}
		}, func(u *model.Upgrade) string { return fmt.Sprint(u.Pos) })
		var claims []plan.Claim
		for _, g := range groups {
			text := fmt.Sprintf("WebSocket connections to %s are forwarded to %s.", g.Paths(), g.Routes[0].Pool)
			claim := check.NewClaim(plan.CheckWebSocket, g.Subject(), "", g.What.Pos, text)
			claim.Implicit = g.What.Implicit
			claims = append(claims, claim)
		}
		return claims
	},
}

func websocketProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	matches := func(r model.Route) bool { return r.Upgrade != nil && r.Upgrade.Pos == claim.Pos && r.Pool != "" }
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		request, _ := check.RequestWithSpec(cfg, r, "")
		probes = append(probes, check.Probe{
			Case: "a handshake and an echoed message", Kind: plan.KindProbes, Request: check.WebSocketHandshake(request),
			Want: check.Want{Codes: []int{101}, Pool: r.Pool},
		})
	}
	return probes, ""
}
