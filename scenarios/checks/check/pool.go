package check

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Paced says whether the number of a server's checks shows all its intervals: backends know them by their path, and they are as far apart
// while it is in doubt or down. Then a few deaths show the rest, how many checks it takes.
func Paced(cfg model.Config, a model.Active) bool {
	_, path, _ := strings.Cut(a.Request, " ")
	jitter := slices.ContainsFunc(cfg.Unread, func(u model.Unread) bool { return strings.HasPrefix(u.Text, "spread-checks") })
	return strings.HasPrefix(path, "/") && !strings.Contains(path, "?") && a.Fast == a.Interval && a.Slow == a.Interval && !jitter
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

// HasNamedServer says whether a server of the pool is given by name and not by address.
func HasNamedServer(p model.Pool) bool {
	for _, s := range p.Servers {
		if _, err := netip.ParseAddr(s.Host); err != nil {
			return true
		}
	}
	return false
}
