package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var response = Check{
	Name: "response",
	Doc: "Responses carry the headers that the configuration adds, on the routes and for the statuses that it adds them to, " +
		"once each.",
	Law:    "one response without refutes, per route and status class (2xx, 3xx, 4xx, 5xx; the backend's and the balancer's own)",
	Claims: responseClaims,
}

func responseClaims(cfg lb.Config) []lb.Claim {
	found := grouped(cfg, func(r lb.Route) []lb.Header { return r.AddHeaders }, func(h lb.Header) string { return fmt.Sprint(h) })
	var claims []lb.Claim
	for _, g := range found {
		h := g.what
		on := "all of them"
		switch {
		case h.Proxied:
			on = "those that come from a backend; what the balancer answers by itself has it not"
		case h.Statuses != nil:
			on = "those with status " + statusList(h.Statuses) + "; 4xx and 5xx have it not (no always)"
		}
		claims = append(claims, lb.Claim{
			ID: id("response", g.subject(), h.Name), Check: "response", Subject: g.subject(), Pos: h.Pos,
			Text: fmt.Sprintf("Responses of %s carry %s: %s: %s.", g.paths(), h.Name, h.Value, on),
		})
	}
	return distinct(claims)
}

func statusList(codes []int) string {
	var out []string
	for _, c := range codes {
		out = append(out, fmt.Sprint(c))
	}
	return strings.Join(out, ", ")
}
