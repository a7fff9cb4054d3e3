package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var fallback = Check{
	Name: "fallback",
	Doc:  "Where a status comes up or a service is down, another answers.",
	Law:  "one request that should have got the fallback and did not, or the other way, refutes",
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.Fallback { return r.Fallbacks }, func(f lb.Fallback) string { return fmt.Sprint(f.Pos, f.To) })
		var claims []lb.Claim
		for _, g := range found {
			f := g.what
			text := fmt.Sprintf("Requests to %s are answered by %s while %s is down by its health checks.", g.paths(), f.To, g.routes[0].Pool)
			if len(f.Codes) > 0 {
				whose := "the balancer's own; the same status from a backend is passed on as it is"
				if f.Backend {
					whose = "the backend's too"
				}
				text = fmt.Sprintf("Where a request to %s comes to %s (%s), %s answers, and the client sees %s.", g.paths(), codes(f.Codes), whose, f.To, seen(f.Code))
			}
			claims = append(claims, lb.Claim{ID: id("fallback", g.subject(), f.To), Check: "fallback", Subject: g.subject(), Pos: f.Pos, Text: text})
		}
		return distinct(claims)
	},
}

// seen is the status that a client gets.
func seen(code int) string {
	switch code {
	case -1:
		return "the first status"
	case 0:
		return "its status"
	}
	return fmt.Sprint(code)
}

// codes prints statuses, and a run of them as first to last.
func codes(list []int) string {
	if len(list) > 5 {
		return fmt.Sprintf("%d to %d", list[0], list[len(list)-1])
	}
	return statusList(list)
}
