package check

import (
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// AdmittedAtOnce is how many requests of a key a limit lets in at once.
func AdmittedAtOnce(l model.Limit) int {
	switch l.Algorithm {
	case model.LeakyBucket:
		return l.Burst + 1
	case model.InFlight:
		return l.MaxInFlight
	}
	return l.Burst
}

// MaybeLimited reports whether a request may have been refused by a limit of its route, before any server was asked.
func MaybeLimited(r model.Route, hit history.Hit) bool {
	return hit.Server == "" && slices.ContainsFunc(r.Limits, func(l model.Limit) bool { return l.Status == hit.Code })
}

// requestsToRefuse is how often requests are sent so that a limit refuses some of each.
func requestsToRefuse(cfg model.Config, requests []plan.Request) int {
	most := 0
	for _, r := range requests {
		route, _ := r.RouteIn(cfg)
		for _, l := range route.Limits {
			if l.Algorithm != model.InFlight {
				most = max(most, AdmittedAtOnce(l))
			}
		}
	}
	return 2*most + 4*Repetitions
}
