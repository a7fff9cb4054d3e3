package checks

import (
	"fmt"
	"slices"
	"strings"

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
	var first []lb.Route // those that may take requests from others
	for _, r := range cfg.Routes {
		if r.Pool != "" && !r.Internal && (r.Regex || r.Priority > 0) {
			first = append(first, r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Pool == "" || r.Internal {
			continue
		}
		text := fmt.Sprintf("Requests to %s go to %s%s.", r.Key(), r.Pool, precedence(first, r))
		claims = append(claims, lb.Claim{ID: id("routes", r.Key(), ""), Check: "routes", Subject: r.Key(), Pos: r.PoolPos, Text: text})
	}
	return distinct(claims)
}

// looked bounds how many other routes are looked at for each.
const looked = 500

// precedence names a route that takes what this one would otherwise get.
func precedence(first []lb.Route, r lb.Route) string {
	for _, o := range first[:min(looked, len(first))] {
		switch {
		case o.Pool == r.Pool || o.Port != r.Port || !meet(o, r):
		case r.Priority > 0 && o.Priority > r.Priority:
			return fmt.Sprintf(", unless %s takes them first", o.Key())
		case r.Priority == 0 && o.Regex && !r.Exact && !r.Regex && !r.Final:
			return fmt.Sprintf(", unless the regular expression %s fits", o.Path)
		}
	}
	return ""
}

// meet says whether a request may fit both routes.
func meet(o, r lb.Route) bool {
	hosts := len(o.Hosts) == 0 || len(r.Hosts) == 0 || slices.ContainsFunc(o.Hosts, func(h string) bool { return slices.Contains(r.Hosts, h) })
	return hosts && (o.Regex || r.Regex || strings.HasPrefix(o.Path, r.Path) || strings.HasPrefix(r.Path, o.Path))
}
