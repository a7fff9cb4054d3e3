package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/lb"
)

var routes = Check{
	Name:   "routes",
	Doc:    "A request goes where its host, path and headers send it, also where several routes would fit.",
	Law:    "one request that another route took refutes; the probes stand on both sides of every boundary between two routes",
	Claims: routeClaims,
}

func routeClaims(cfg lb.Config) []lb.Claim {
	var claims []lb.Claim
	if len(proxied(cfg)) < 2 {
		return nil // where all goes the same way, the other checks say so
	}
	for _, r := range cfg.Routes {
		if r.Pool == "" || r.Internal {
			continue
		}
		text := fmt.Sprintf("Requests to %s go to %s%s.", r.Key(), r.Pool, precedence(cfg, r))
		claims = append(claims, lb.Claim{ID: id("routes", r.Key(), ""), Check: "routes", Subject: r.Key(), Pos: r.PoolPos, Text: text})
	}
	return distinct(claims)
}

// precedence names the route that takes what this one would otherwise get.
func precedence(cfg lb.Config, r lb.Route) string {
	for _, o := range cfg.Routes {
		if o.Internal || o.Key() == r.Key() || o.Pool == r.Pool || o.Port != r.Port {
			continue
		}
		switch {
		case r.Priority > 0 && o.Priority > r.Priority && o.Redirect == nil && o.Own == nil:
			return fmt.Sprintf(", unless %s takes them first", o.Key())
		case r.Priority == 0 && o.Regex && !r.Exact && !r.Regex && !r.Final && fmt.Sprint(o.Hosts) == fmt.Sprint(r.Hosts):
			return fmt.Sprintf(", unless the regular expression %s fits", o.Path)
		}
	}
	return ""
}
