package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var passive = Check{
	Name: "passive",
	Doc:  "Failed requests take a server out of rotation, and it comes back after its time.",
	Law: "nginx: out at the latest when fails/rate have passed in every worker; away for more than fail_timeout and at most a " +
		"second longer, because nginx counts in whole seconds; one attempt per state and period meanwhile",
	Claims: func(cfg lb.Config) []lb.Claim {
		return pools(cfg, func(p lb.Pool) []lb.Claim {
			var claims []lb.Claim
			var servers [][]lb.Server
			at := map[string]int{}
			for _, s := range p.Servers {
				if s.Passive == nil || len(rotation(p)) < 2 {
					continue
				}
				text := passiveText(s)
				i, same := at[text] // one promise for all servers that say the same
				if !same {
					i = len(claims)
					at[text] = i
					claims = append(claims, lb.Claim{
						ID: id("passive", p.Name, nameOf(s)), Check: "passive", Subject: p.Name, Pos: s.Passive.Pos, Implicit: s.Passive.Implicit,
						Params: passiveParams(s.Passive), Assumes: passiveAssumes(cfg, p),
					})
					servers = append(servers, nil)
				}
				servers[i] = append(servers[i], s)
				claims[i].Text = eachOf(p, servers[i]) + text
			}
			return claims
		})
	},
}

func passiveParams(p *lb.Passive) map[string]float64 {
	params := map[string]float64{"fails": float64(p.Fails)}
	if p.Law == "nginx" && p.Fails > 0 {
		params["out_s_least"], params["out_s_most"] = seconds(p.Out), seconds(p.Out)+1
	}
	return params
}

// passiveText goes on after the name of the server.
func passiveText(s lb.Server) string {
	out := s.Passive
	on := out.On
	if on == "" {
		on = "error, timeout, invalid_header"
	}
	switch {
	case out.Fails == 0:
		return " is never taken out of rotation, whatever its requests come to (max_fails=0)."
	case out.Law == "nginx":
		by := ""
		if out.Implicit {
			by = " (the default max_fails=1 fail_timeout=10s)"
		}
		return fmt.Sprintf(" is taken out of rotation after %s (%s) and tried again after %s to %s%s.", plural(out.Fails, "failed attempt"), on, span(out.Out), span(out.Out+1e9), by)
	case out.Law == "haproxy":
		return fmt.Sprintf(" is dealt with as on-error says after %s in a row (%s).", plural(out.Fails, "error"), on)
	}
	return fmt.Sprintf(" is taken out of rotation for %s after %s in a row (%s).", span(out.Out), plural(out.Fails, "failure"), on)
}

func passiveAssumes(cfg lb.Config, p lb.Pool) []string {
	var assumes []string
	if cfg.Balancer == "nginx" && !p.SharedState {
		assumes = append(assumes, "each worker counts for itself, so that clients may meet as many failures once per worker (no zone)")
	}
	for _, s := range p.Servers {
		if s.Passive != nil && strings.Contains(s.Passive.On, "http_5") {
			return append(assumes, "not all servers fail at once: then all are out together, and clients get 502 for as long although the servers are well again")
		}
	}
	return assumes
}
