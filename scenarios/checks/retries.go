package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

var retries = Check{
	Name: "retries",
	Doc:  "A request that failed is sent again, as often, to whom and for which methods the configuration says.",
	Law: "attempts per request id at the backends, exactly; a request that may not be repeated arrives once unless the " +
		"configuration says otherwise",
	Claims: retryClaims,
}

func retryClaims(cfg lb.Config) []lb.Claim {
	byName := map[string]lb.Pool{}
	for _, p := range cfg.Pools {
		byName[p.Name] = p
	}
	found := grouped(cfg, func(r lb.Route) []*lb.Retry {
		pool, ok := byName[r.Pool]
		if r.Retry == nil || r.Pool == "" || r.Retry.Implicit && r.Retry.Attempts == 0 && ok && len(pool.Servers) < 2 {
			return nil // there is nobody else to try
		}
		return []*lb.Retry{r.Retry}
	}, func(t *lb.Retry) string {
		k := *t
		if k.Implicit {
			k.Pos = lb.Pos{}
		}
		return fmt.Sprint(k)
	})
	var claims []lb.Claim
	for _, g := range found {
		claims = append(claims, lb.Claim{
			ID: id("retries", g.subject(), ""), Check: "retries", Subject: g.subject(), Pos: g.what.Pos, Implicit: g.what.Implicit,
			Params: map[string]float64{"attempts": float64(g.what.Attempts)}, Text: retryText(cfg, g),
		})
	}
	return claims
}

func retryText(cfg lb.Config, g group[*lb.Retry]) string {
	t := g.what
	if t.Attempts == 1 {
		return fmt.Sprintf("A request to %s is sent once: what fails on its way to the server, fails for the client.", g.paths())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "A request to %s that fails (%s) is sent again", g.paths(), strings.Join(t.On, ", "))
	switch {
	case t.Attempts == 0:
		b.WriteString(", until every server was tried")
	default:
		fmt.Fprintf(&b, ", up to %s in all", plural(t.Attempts, "attempt"))
	}
	if t.Wait > 0 {
		fmt.Fprintf(&b, ", %s apart at first", span(t.Wait))
	}
	if t.Within > 0 {
		fmt.Fprintf(&b, ", none later than %s", span(t.Within))
	}
	if t.Elsewhere {
		b.WriteString(", to another server")
	} else {
		b.WriteString(", to the same server (no redispatch): while it is dead and not yet found so, its clients get 503")
	}
	switch {
	case t.AnyMethod && repeats(t.On):
		b.WriteString("; POST too, even after the server has seen it: it may be carried out twice.")
	case cfg.Balancer == "nginx":
		b.WriteString("; POST, LOCK and PATCH only where they had not been sent.")
	default:
		b.WriteString(".")
	}
	return b.String()
}

// repeats says whether the causes include such that come after the server has seen the request.
func repeats(on []string) bool {
	for _, cause := range on {
		if cause != "conn-failure" {
			return true
		}
	}
	return false
}
