package check

import (
	"net/netip"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// HasCountableChecks reports whether the number of a server's checks shows all its intervals: backends know them by their path, and
// they are as far apart while it is in doubt or down. Then a few deaths show the rest, how many checks it takes.
func HasCountableChecks(a model.HealthCheck) bool {
	path := a.Request.Path
	known := strings.HasPrefix(path, "/") && !strings.Contains(path, "?")
	steady := a.FastInterval == a.Interval && a.DownInterval == a.Interval && !a.Jitter
	return known && steady
}

// EachPool calls f for every pool that requests can reach.
func EachPool(cfg model.Config, f func(model.Pool) []plan.Claim) []plan.Claim {
	var claims []plan.Claim
	for _, p := range cfg.Pools {
		claims = append(claims, f(p)...)
	}
	return claims
}

// ServerNames lists servers as host, with the port where the host alone does not tell them apart.
func ServerNames(servers []model.Server) []string {
	var out []string
	for _, s := range servers {
		out = append(out, ServerName(s))
	}
	return out
}

func ServerName(s model.Server) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Host
}

// HasNamedServer reports whether a server of the pool is given by name and not by address.
func HasNamedServer(p model.Pool) bool {
	for _, s := range p.Servers {
		if _, err := netip.ParseAddr(s.Host); err != nil {
			return true
		}
	}
	return false
}
