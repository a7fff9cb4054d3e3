package check

import (
	"net/netip"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// HasCountableChecks reports whether counting a server's health checks determines all their intervals: backends
// recognize them by their path, and the interval is the same for servers that are up, down or in transition. Then a few
// outages determine the rest, the number of checks.
func HasCountableChecks(a model.HealthCheck) bool {
	path := a.Request.Path
	recognizable := strings.HasPrefix(path, "/") && !strings.Contains(path, "?")
	steady := a.FastInterval == a.Interval && a.DownInterval == a.Interval && !a.Jitter
	return recognizable && steady
}

// EachPool collects the claims that f returns for each pool.
func EachPool(cfg model.Config, f func(model.Pool) []plan.Claim) []plan.Claim {
	var claims []plan.Claim
	for _, p := range cfg.Pools {
		claims = append(claims, f(p)...)
	}
	return claims
}

// ServerNames returns the name of each server.
func ServerNames(servers []model.Server) []string {
	var out []string
	for _, s := range servers {
		out = append(out, ServerName(s))
	}
	return out
}

// ServerName returns the name that the configuration gives a server, or else its host.
func ServerName(s model.Server) string {
	if s.Name != "" {
		return s.Name
	}
	return s.Host
}

// HasNamedServer reports whether a server of the pool has a host name instead of an address.
func HasNamedServer(p model.Pool) bool {
	for _, s := range p.Servers {
		if _, err := netip.ParseAddr(s.Host); err != nil {
			return true
		}
	}
	return false
}
