package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var auth = Check{
	Name: "auth",
	Doc:  "Only requests that another service or a list of users lets pass reach a backend.",
	Law:  "one arrival of a request that was not let pass refutes; one question per request where a service is asked",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []*lb.Auth {
			if r.Auth == nil || r.Own != nil {
				return nil
			}
			return []*lb.Auth{r.Auth}
		}, func(a *lb.Auth) string { return fmt.Sprint(a.Pos) })
		var claims []lb.Claim
		for _, g := range found {
			answer := "the service's own answer"
			if g.what.Code != 0 {
				answer = fmt.Sprint(g.what.Code)
			} else if cfg.Balancer == "nginx" {
				answer = "its 401 or 403, and 500 for any other status than 2xx"
			}
			claims = append(claims, lb.Claim{
				ID: id("auth", g.subject(), ""), Check: "auth", Subject: g.subject(), Pos: g.what.Pos,
				Text: fmt.Sprintf("A request to %s reaches a backend only when %s lets it pass; others get %s.", g.paths(), g.what.By, answer),
			})
		}
		return claims
	},
}
