package checks

import (
	"fmt"
	"strings"
	"time"

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
	Judge: judgeSticky,
}

// session is where a client that keeps its cookie is served.
type session struct {
	server string
	since  time.Duration // requests sent before may have gone without the cookie
}

func judgeSticky(claim lb.Claim, h lb.History) lb.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Sticky == nil || pool.Sticky.Cookie == "" {
		return lb.Finding{Broken: NoExperiment}
	}
	f := lb.Finding{Need: needAll(h), Test: "server of every request that brought the cookie, against the one before", Predicted: "none elsewhere while its server was up"}
	find, sessions := journeys(h), map[int]session{}
	var wrong examples
	moved, load := 0, -1
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.route.Pool != pool.Name || !h.Plan.Loads[hit.Load].Clients.Cookies || hit.Server == "" {
			continue
		}
		if hit.Load != load { // other clients
			load, sessions = hit.Load, map[int]session{}
		}
		was, known := sessions[hit.Client]
		switch {
		case !known:
			sessions[hit.Client] = session{hit.Server, hit.Done}
			continue
		case hit.Sent < was.since:
			continue
		}
		if f.N++; hit.Server == was.server {
			continue
		}
		sessions[hit.Client] = session{hit.Server, hit.Done}
		if moved++; !excused(h, pool, was.server, hit) {
			moved--
			wrong.add("request %d of client %d, sent at %.2f s, was answered by %s, and the one before by %s, which was up", hit.Seq, hit.Client, hit.Sent.Seconds(), hit.Server, was.server)
		}
	}
	f.Measured = fmt.Sprintf("%s of %s elsewhere; %s moved because their server was gone", number(wrong.total), number(f.N), plural(moved, "session"))
	f.Power = powerAll(f.N, h)
	switch {
	case died(h) != "":
		f.Broken = died(h)
	case f.N == 0:
		f.Broken = "no client kept its cookies; --scenario scale has some that do"
	default:
		f.Counter = wrong.list()
	}
	return f
}

// excused says whether a session may have left its server: by a fault that was in force on it, or just over, or by a
// configuration without it.
func excused(h lb.History, pool lb.Pool, server string, hit lb.Hit) bool {
	for _, m := range h.Env.Marks {
		after := settling
		for _, s := range pool.Servers {
			if s.Host == server {
				after = knownAgain(s)
			}
		}
		if hit.Done < m.Ordered || hit.Sent > m.To+after {
			continue
		}
		if m.Event.Target == server || removes(h, m, pool, server) {
			return true
		}
	}
	return false
}

// removes says whether a reload takes the server out of the configuration for its time.
func removes(h lb.History, m lb.Mark, pool lb.Pool, server string) bool {
	if m.Event.Fault != "reload" || m.Event.With["change"] != "remove" {
		return false
	}
	for _, p := range h.Plan.Config.Pools {
		if len(p.Servers) > 1 { // the first such
			return p.Name == pool.Name && p.Servers[len(p.Servers)-1].Host == server
		}
	}
	return false
}
