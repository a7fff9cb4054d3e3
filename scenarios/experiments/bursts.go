package experiments

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// minPoolRate is the minimum number of requests per second to each pool, so that no gap looks like an outage.
const minPoolRate = 1.1

// unlimitedBurst is the burst length where no limit by address applies.
const unlimitedBurst = 16

// burstLen returns how many requests one client sends in a burst so that its nginx worker reaches its failure count:
// as many as every limit by address admits at once without a delay, and unlimitedBurst without such a limit. It is 0
// if bursts would show nothing: there is no limit and a key chooses the server, or one failure is enough.
func burstLen(cfg model.Config, requests []plan.Request) int {
	burst, counts := 0, len(requests) > 0
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
			if most = max(1, int(limitShare*float64(most))); burst == 0 || most < burst {
				burst = most
			}
		}
	}
	if burst == 0 && counts {
		return unlimitedBurst
	}
	return burst
}

// hasKeyedFailureCount reports whether requests go to an nginx pool whose workers count failures and whose servers
// are chosen by client address: how long such a worker ejects a failed server is visible only if its counts were
// reset before.
func hasKeyedFailureCount(cfg model.Config, requests []plan.Request) bool {
	return cfg.Dialect.PinsConnections && slices.ContainsFunc(requests, func(r plan.Request) bool {
		route, _ := r.RouteIn(cfg)
		pool, _ := cfg.Pool(route.Pool)
		return pool.Balance.Key().IsAddress() && countsPerWorker(pool, 1)
	})
}

// countsPerWorker reports whether each worker counts failures of a pool's servers separately, and ejects one after at
// least fails failures.
func countsPerWorker(pool model.Pool, fails int) bool {
	return !pool.SharedState && slices.ContainsFunc(pool.Servers, func(s model.Server) bool {
		return s.Ejection != nil && s.Ejection.MaxFails >= fails
	})
}

// goesToHost reports whether a request goes to a pool that contains a server.
func goesToHost(cfg model.Config, r plan.Request, host string) bool {
	route, _ := r.RouteIn(cfg)
	pool, _ := cfg.Pool(route.Pool)
	return slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == host })
}

// burstRate is the minimum rate of requests in bursts, per second.
const burstRate = 30.

// burstClients is the minimum number of clients that send bursts, so that every worker gets some.
const burstClients = 32
