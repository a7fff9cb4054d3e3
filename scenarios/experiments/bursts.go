package experiments

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// minPoolRate is how often a pool is asked per second, where that is no hush.
const minPoolRate = 1.1

// unlimitedBurst is how many requests clients send in a row where no limit by address stands in the way.
const unlimitedBurst = 16

// burstLen is how many requests one client is to send one after another so that its worker of nginx meets its count of
// failures: as many as it can send at once without any limit by address refusing one or having it wait, and freeRow
// where there is no such limit; 0 where rows would show nothing: without a limit, where a key chooses the server or one
// failure is enough.
func burstLen(cfg model.Config, requests []plan.Request) int {
	row, counts := 0, len(requests) > 0
	for _, r := range requests {
		route, _ := r.RouteIn(cfg)
		pool, _ := cfg.Pool(route.Pool)
		counts = counts && pool.Balance.Hash == nil && countsPerWorker(pool, 2)
		for _, limit := range route.Limits {
			if limit.Algorithm == model.InFlight || !limit.Key.IsAddress() {
				continue
			}
			most := check.AdmittedAtOnce(limit)
			if limit.Algorithm == model.LeakyBucket && limit.Delay >= 0 {
				most = limit.Delay + 1
			}
			if most = max(1, int(limitShare*float64(most))); row == 0 || most < row {
				row = most
			}
		}
	}
	if row == 0 && counts {
		return unlimitedBurst
	}
	return row
}

// hasKeyedFailureCount says whether requests go to a pool of nginx whose workers count failures and whose servers are chosen by
// the client's address: how long such a worker leaves a dead server alone shows where it had none to count before.
func hasKeyedFailureCount(cfg model.Config, requests []plan.Request) bool {
	return cfg.Dialect.PinsConnections && slices.ContainsFunc(requests, func(r plan.Request) bool {
		route, _ := r.RouteIn(cfg)
		pool, _ := cfg.Pool(route.Pool)
		return pool.Balance.Key().IsAddress() && countsPerWorker(pool, 1)
	})
}

// countsPerWorker reports whether each worker counts failures of a pool's servers by itself, and one needs so many at least
// to be out.
func countsPerWorker(pool model.Pool, fails int) bool {
	return !pool.SharedState && slices.ContainsFunc(pool.Servers, func(s model.Server) bool {
		return s.Ejection != nil && s.Ejection.MaxFails >= fails
	})
}

// goesToHost says whether a request goes to a pool that has a server.
func goesToHost(cfg model.Config, r plan.Request, host string) bool {
	route, _ := r.RouteIn(cfg)
	pool, _ := cfg.Pool(route.Pool)
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == host })
}

// burstRate is how many requests in rows are sent per second, at least.
const burstRate = 30.

// burstClients is how many clients send rows, at least, so that every worker has some.
const burstClients = 32
