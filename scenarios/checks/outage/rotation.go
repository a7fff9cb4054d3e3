package outage

import (
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// expectedRate returns how many requests per second of an open loop rotation sends to a server; 0: unknown.
func expectedRate(h history.History, pool model.Pool, server model.Server, phase int) float64 {
	if phase >= len(h.Plan.Phases) {
		return 0
	}
	l := h.Plan.Phases[phase]
	find, first, matching := check.RouteFinder(h), h.Plan.FirstHit(phase), 0
	for i := range l.Requests {
		if j := find(first + uint64(i*max(1, l.BurstLen))); j != nil && j.Route.Pool == pool.Name {
			matching++
		}
	}
	if len(l.Requests) == 0 {
		return 0
	}
	return l.Rate * float64(matching) / float64(len(l.Requests)) * rotationShare(pool, server)
}

// rotationShare returns a server's share of a pool's rotation.
func rotationShare(pool model.Pool, server model.Server) float64 {
	total := 0
	for _, s := range check.Rotation(pool) {
		total += max(1, s.Weight)
	}
	if total == 0 {
		return 0
	}
	return float64(max(1, server.Weight)) / float64(total)
}

// isKeyless reports whether a pool rotates because the requests of a phase have no key to hash.
func isKeyless(p plan.Plan, pool model.Pool, phase int) bool {
	if pool.Balance.Hash == nil || !pool.Balance.Hash.RotatesEmptyKeys || phase >= len(p.Phases) {
		return false
	}
	l := p.Phases[phase]
	if len(l.Keys.Values) > 0 || l.Clients.Cookies {
		return false
	}
	key := pool.Balance.Hash.Key
	var hasKey func(plan.Request) bool
	switch key.Variable {
	case model.RequestHeader:
		hasKey = func(r plan.Request) bool { return check.SentHeader(l, r, key.Name, 0) != "" }
	case model.Cookie:
		hasKey = func(r plan.Request) bool { return strings.Contains(check.SentHeader(l, r, "Cookie", 0), key.Name+"=") }
	default:
		return false
	}
	return !slices.ContainsFunc(l.Requests, hasKey)
}

// burstGap returns the time between two bursts of requests to a pool.
func burstGap(p plan.Plan, phase int) time.Duration {
	if phase >= len(p.Phases) || p.Phases[phase].BurstLen < 2 {
		return 0
	}
	l := p.Phases[phase]
	return time.Duration(float64((len(l.Requests)-1)*l.BurstLen) / l.Rate * float64(time.Second))
}
