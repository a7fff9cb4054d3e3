package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var conns = Check{
	Name: "conns",
	Doc:  "A server is given no more requests at a time than its limit (max_conns, maxconn).",
	Law:  "the most in flight at the backend never exceeds it, once per independent state",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			var claims []lb.Claim
			for _, s := range p.Servers {
				if s.Conns == nil || s.Conns.Value == 0 {
					continue
				}
				c := lb.Claim{
					ID: id("conns", p.Name, nameOf(s)), Check: "conns", Subject: p.Name, Pos: s.Conns.Pos, Params: map[string]float64{"most": float64(s.Conns.Value)},
					Text: fmt.Sprintf("%s has at most %d requests of %s in flight; more %s.", nameOf(s), s.Conns.Value, p.Name, beyond(cfg, p)),
				}
				if !p.SharedState {
					c.Assumes = []string{"each worker counts for itself, so that all together may reach the limit times the workers (no zone)"}
				}
				claims = append(claims, c)
			}
			return claims
		})
	},
}

// beyond says what becomes of requests that no server may take.
func beyond(cfg lb.Config, p lb.Pool) string {
	switch {
	case cfg.Balancer == "nginx":
		return "go to other servers, and get 502 where all are full"
	case p.Queue != nil:
		return fmt.Sprintf("wait up to %s, then get 503", span(p.Queue.After))
	}
	return "wait in a queue, as long as timeout connect allows"
}
