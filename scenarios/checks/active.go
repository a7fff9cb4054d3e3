package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var active = Check{
	Name: "active",
	Doc:  "Health checks take a dead server out and a healthy one back in.",
	Law: "down between (fall-1)*fastinter and that plus inter, plus fall timeouts where it hangs; up between " +
		"(rise-1)*fastinter and that plus downinter; the phase is uniform, so the time is an interval and no number",
	Claims: activeClaims,
}

func activeClaims(cfg lb.Config) []lb.Claim {
	return pools(cfg, func(p lb.Pool) []lb.Claim {
		var claims []lb.Claim
		var servers [][]lb.Server
		at := map[string]int{}
		for _, s := range p.Servers {
			if s.Active == nil {
				continue
			}
			a := *s.Active
			a.Pos, a.Queued = lb.Pos{}, 0
			i, same := at[fmt.Sprint(a)] // one promise for all servers that say the same
			if !same {
				i = len(claims)
				at[fmt.Sprint(a)] = i
				claims, servers = append(claims, activeClaim(p, s)), append(servers, nil)
			}
			servers[i] = append(servers[i], s)
			each := activeClaim(p, s) // the last one waits longest where they are checked in turn
			claims[i].Params, claims[i].Text = each.Params, activeText(eachOf(p, servers[i]), *s.Active)
		}
		return claims
	})
}

func activeClaim(p lb.Pool, s lb.Server) lb.Claim {
	soonest, refused, hanging := s.Active.Down()
	upSoonest, upLatest := s.Active.Up()
	c := lb.Claim{
		ID: id("active", p.Name, nameOf(s)), Check: "active", Subject: p.Name, Pos: s.Active.Pos,
		Text: activeText(nameOf(s), *s.Active),
		Params: map[string]float64{
			"down_s_least": seconds(soonest), "down_s_most": seconds(refused), "down_hanging_s_most": seconds(hanging),
			"up_s_least": seconds(upSoonest), "up_s_most": seconds(upLatest),
		},
	}
	if len(s.Active.Implicit) > 0 {
		c.Assumes = []string{fmt.Sprintf("the defaults of %s, which nobody wrote: one check in %s, %d failed take it out, %d passed bring it back",
			strings.Join(s.Active.Implicit, ", "), span(s.Active.Interval), s.Active.Fall, s.Active.Rise)}
	}
	return c
}

func activeText(who string, a lb.Active) string {
	soonest, refused, hanging := a.Down()
	upSoonest, upLatest := a.Up()
	asks := a.Request
	if a.Expect != "" {
		asks += ", " + a.Expect + " expected"
	}
	checks := "check"
	if a.Fall == 1 {
		checks = "one failed check is enough"
	} else {
		checks = fmt.Sprintf("%d failed checks in a row", a.Fall)
	}
	return fmt.Sprintf("%s is checked every %s (%s): out %s to %s after it dies, at most %s where it hangs (%s); back %s to %s after it recovers.",
		who, span(a.Interval), asks, span(soonest), span(refused), span(hanging), checks, span(upSoonest), span(upLatest))
}
