package checks

import (
	"fmt"
	"maps"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var websocket = Check{
	Name:      "websocket",
	Doc:       "A WebSocket handshake passes (101) and messages come back.",
	Law:       "one handshake refused or one message lost refutes",
	Questions: websocketQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		found := grouped(cfg, func(r model.Route) []*model.Upgrade {
			if r.Upgrade == nil || r.Pool == "" {
				return nil
			}
			return []*model.Upgrade{r.Upgrade}
		}, func(u *model.Upgrade) string { return fmt.Sprint(u.Pos) })
		var claims []plan.Claim
		for _, g := range found {
			claims = append(claims, plan.Claim{
				ID: id("websocket", g.subject(), ""), Check: "websocket", Subject: g.subject(), Pos: g.what.Pos, Implicit: cfg.Balancer != "nginx",
				Text: fmt.Sprintf("WebSocket connections to %s are let through to %s.", g.paths(), g.routes[0].Pool),
			})
		}
		return claims
	},
}

func websocketQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	shares := func(r model.Route) bool { return r.Upgrade != nil && r.Upgrade.Pos == claim.Pos && r.Pool != "" }
	for _, r := range candidates(cfg, claim, shares) {
		request, _ := wishing(cfg, r, "")
		asked = append(asked, Question{"a handshake, and a message that comes back", Asked, upgrading(request), Reply{Codes: []int{101}, Pool: r.Pool}})
	}
	return asked, ""
}

// upgrading makes a request a WebSocket handshake (RFC 6455, section 4.1).
func upgrading(r plan.Request) plan.Request {
	r.Method, r.Header = "GET", maps.Clone(r.Header)
	maps.Copy(r.Header, map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "bGJwcm9vZiBsYnByb29mIQ==",
	})
	return r
}
