package failover

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// detectableWidth is how much wider than promised an interval would have been seen: n deaths at uniform moments all fall into the
// promised one with probability k^-n where the true one is k times as wide (laws of detection times).
func detectableWidth(n int, beta float64) float64 {
	return math.Exp(-math.Log(beta) / float64(max(1, n)))
}

// outagesNeeded is how many show an interval that is twice as wide.
func outagesNeeded(beta float64) int { return int(math.Ceil(-math.Log(beta) / math.Ln2)) }

// formatRange prints the least and the most of some times.
func formatRange(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f s to %.2f s", slices.Min(all).Seconds(), slices.Max(all).Seconds())
}

// deathRate is how many requests per second a pool gets while one of its servers dies, and apartRate where those are
// alone under way whose attempts would be hard to tell apart.
const (
	outageRate   = 100
	isolatedRate = 30
)

// outageRequirements kill servers of a pool that fit, one after another, the last ones, and never all but where there is one
// alone, and requests wait for it. Where servers are those of an earlier pool, too, nobody could tell whose attempts
// reach them, so that the pool is asked alone, unless rows of requests tell.
func outageRequirements(cfg model.Config, name, shows string, fits func(model.Server) bool) []check.Requirement {
	pool, ok := cfg.Pool(name)
	request, askable := check.RequestToPool(cfg, name)
	if !askable {
		request, askable = handshakeRequest(cfg, name)
	}
	if !ok || !askable {
		return nil
	}
	up := slices.DeleteFunc(slices.Clone(pool.Servers), func(s model.Server) bool { return s.Backup || s.Down || s.Drain })
	mortal := slices.DeleteFunc(slices.Clone(up), func(s model.Server) bool { return !fits(s) })
	if len(mortal) == 0 || len(up) < 2 && !retriesWait(cfg, name) {
		return nil
	}
	t := check.Requirement{Kind: plan.KindOutages, Detects: shows, Phase: plan.Phase{Rate: outageRate, Concurrency: 512, Count: 1}}
	if !cfg.Dialect.PinsConnections && sharesEarlierServers(cfg, name) {
		t.About = "of " + name
	}
	if check.IsOwnAuthService(cfg, name) {
		t.Phase.Rate = isolatedRate
	}
	t.Outages = hostsToKill(up, mortal, retriesWait(cfg, name))
	t.Phase.Requests, t.Phase.Clients = requestsToServers(cfg, pool, request, t.Outages)
	return []check.Requirement{t}
}

// hostsToKill are the hosts of those servers that die, of the mortal ones in rotation: one, or several where requests wait
// for a server that is dead. Each death shows by itself then, while a balancer that leaves one alone minds the others.
func hostsToKill(up, mortal []model.Server, waits bool) (hosts []string) {
	most := 1
	byCount := mortal[0].Ejection != nil && mortal[0].Ejection.Rule == model.FailuresInWindow
	switch {
	case waits && len(up) == 2 && slices.ContainsFunc(mortal, isSlowToDetect):
		most = 2
	case waits: // of three by turns two are dead at a time at most
		most = max(1, min(3, len(up)-1+len(up)/3))
	case byCount: // the line that the promise names is the first of such servers
		slices.Reverse(mortal)
		slices.SortStableFunc(mortal, func(a, b model.Server) int { return a.Weight - b.Weight })
	}
	for _, s := range mortal[max(0, len(mortal)-most):] {
		hosts = append(hosts, s.Host)
	}
	return hosts
}

// retriesWait says whether requests to a pool wait for the server that they are meant for while it is dead.
func retriesWait(cfg model.Config, pool string) bool {
	return slices.ContainsFunc(cfg.Routes, func(r model.Route) bool {
		return r.Pool == pool && r.Retry != nil && r.Retry.Backoff == model.FixedBackoff
	})
}

// maxSingleOutage is for how long a server may be dead and come back for one alone to die as often as it takes. Where it takes
// longer, another one dies while its checks find it well again.
const maxSingleOutage = 40 * time.Second

// isSlowToDetect says whether the health checks of a server take so long.
func isSlowToDetect(s model.Server) bool {
	if s.HealthCheck == nil {
		return false
	}
	_, down, _ := s.HealthCheck.DetectionTime()
	_, up := s.HealthCheck.RecoveryTime()
	return down+up > maxSingleOutage
}

// sharesServers says whether another pool has a server of this one's, so that nobody could tell whose attempts reach it.
func sharesServers(cfg model.Config, pool string) bool { return isSharedBy(cfg, pool, cfg.Pools) }

// sharesEarlierServers says whether a pool that stands before this one has a server of its.
func sharesEarlierServers(cfg model.Config, pool string) bool {
	i := slices.IndexFunc(cfg.Pools, func(p model.Pool) bool { return p.Name == pool })
	return isSharedBy(cfg, pool, cfg.Pools[:max(0, i)])
}

// isSharedBy says whether one of others has a server of a pool's.
func isSharedBy(cfg model.Config, pool string, others []model.Pool) bool {
	mine, _ := cfg.Pool(pool)
	return slices.ContainsFunc(others, func(o model.Pool) bool {
		return o.Name != pool && slices.ContainsFunc(o.Servers, func(s model.Server) bool {
			return slices.ContainsFunc(mine.Servers, func(m model.Server) bool { return m.Host == s.Host })
		})
	})
}

// handshakeRequest is a request for a tunnel to a pool that nothing else leads to.
func handshakeRequest(cfg model.Config, pool string) (plan.Request, bool) {
	if cfg.Dialect.PinsConnections && sharesServers(cfg, pool) {
		return plan.Request{}, false
	}
	for _, r := range cfg.Routes {
		if r.Pool != pool || len(r.Access) > 0 {
			continue
		}
		request, ok := check.RequestWithSpec(cfg, r, "")
		if ok && strings.EqualFold(request.Header["Upgrade"], "websocket") {
			return request, true
		}
	}
	return plan.Request{}, false
}

// hashClients is how many addresses ask a pool whose servers are chosen by them, so that one may lead to the server
// that dies, and one alone.
const hashClients = 2

// requestsToServers is how requests get to the given servers of a pool: where a hash decides, with a key of theirs, or with
// several. To nginx each comes from a client of its own, whose connection stays with one worker and so with one count
// of failures.
func requestsToServers(cfg model.Config, pool model.Pool, r plan.Request, hosts []string) ([]plan.Request, plan.Clients) {
	requests, clients := []plan.Request{r}, plan.Clients{}
	if cfg.Dialect.PinsConnections {
		clients = plan.Clients{Count: 1, OwnAddresses: true}
	}
	trials := check.KeyRequirements(pool.Name, pool.Balance.Key(), r)
	if len(trials) == 0 {
		return requests, clients
	}
	keys := trials[0].Phase.Clients
	switch {
	case !keys.OwnAddresses:
	case !cfg.Dialect.PinsConnections:
		return requests, keys
	default:
		clients.AddressStep = keys.AddressStep
		for i := 1; i < hashClients; i++ {
			another := r
			another.Path = fmt.Sprintf("%s?client=%d", r.Path, i)
			requests = append(requests, another)
		}
		return requests, clients
	}
	servers, up := check.HashMembers(pool)
	m := check.NewHashMap(pool, servers, up)
	for _, one := range trials[0].Phase.Requests {
		if key, ok := check.PathKey(one, pool.Balance.Key()); ok && m != nil && slices.Contains(hosts, servers[m(key)].Host) {
			return []plan.Request{one}, clients
		}
	}
	return requests, clients
}
