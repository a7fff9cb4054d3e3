package check

import (
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// AdmittedAtOnce returns how many simultaneous requests of a key a limit admits.
func AdmittedAtOnce(l model.Limit) int {
	switch l.Algorithm {
	case model.LeakyBucket:
		return l.Burst + 1
	case model.InFlight:
		return l.MaxInFlight
	}
	return l.Burst
}

// MaybeLimited reports whether a limit of its route may have refused a request before it was forwarded.
func MaybeLimited(r model.Route, hit history.Hit) bool {
	return hit.Server == "" && slices.ContainsFunc(r.Limits, func(l model.Limit) bool { return l.Status == hit.Code })
}

// requestsToRefuse returns how often each request must be sent so that a limit refuses some of them.
func requestsToRefuse(cfg model.Config, requests []plan.Request) int {
	largest := 0
	for _, r := range requests {
		route, _ := r.RouteIn(cfg)
		for _, l := range route.Limits {
			if l.Algorithm != model.InFlight {
				largest = max(largest, AdmittedAtOnce(l))
			}
		}
	}
	return 2*largest + 4*Repetitions
}
