package failover

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// detectableWidth returns how many times as wide as claimed an interval must be for n outages to detect it: all of n
// uniform moments fall into the claimed interval with probability k^-n if the true one is k times as wide.
func detectableWidth(n int, beta float64) float64 {
	return math.Exp(-math.Log(beta) / float64(max(1, n)))
}

// outagesNeeded returns how many outages detect an interval that is twice as wide.
func outagesNeeded(beta float64) int { return int(math.Ceil(-math.Log(beta) / math.Ln2)) }

// formatRange formats the minimum and maximum of durations.
func formatRange(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f–%.2f s", slices.Min(all).Seconds(), slices.Max(all).Seconds())
}

// formatCounts formats a range of counts, such as 1–3.
func formatCounts(least, most int) string {
	if least == most {
		return units.Number(least)
	}
	return units.Number(least) + "–" + units.Number(most)
}

// Requests per second to a pool during outages: usually, and if attempts must not overlap to be distinguishable.
const (
	outageRate   = 100
	isolatedRate = 30
)

// outageRequirements requests outages of matching servers, one after another: the last ones of the pool, and never all,
// unless there is only one and requests wait for it. If an earlier pool shares servers, attempts could not be
// attributed to a pool: the requirement is then about this pool alone, unless bursts distinguish the attempts.
func outageRequirements(cfg model.Config, name, detects string, matches func(model.Server) bool) []check.Requirement {
	pool, ok := cfg.Pool(name)
	request, found := check.RequestToPool(cfg, name)
	if !found {
		request, found = handshakeRequest(cfg, name)
	}
	if !ok || !found {
		return nil
	}
	up := slices.DeleteFunc(slices.Clone(pool.Servers), func(s model.Server) bool { return s.Backup || s.Down || s.Drain })
	candidates := slices.DeleteFunc(slices.Clone(up), func(s model.Server) bool { return !matches(s) })
	if len(candidates) == 0 || len(up) < 2 && !retriesWait(cfg, name) {
		return nil
	}
	t := check.Requirement{
		Kind: plan.KindOutages, Detects: detects,
		Phase: plan.Phase{Rate: outageRate, Concurrency: 512, Count: 1},
	}
	if !cfg.Dialect.PinsConnections && sharesEarlierServers(cfg, name) {
		t.About = "of " + name
	}
	if check.IsOwnAuthService(cfg, name) {
		t.Phase.Rate = isolatedRate
	}
	t.Outages = outageHosts(up, candidates, retriesWait(cfg, name))
	t.Phase.Requests, t.Phase.Clients = requestsToServers(cfg, pool, request, t.Outages)
	return []check.Requirement{t}
}

// outageHosts selects the servers that go down among the candidates: one, or several if requests wait for a server that
// is down. Each outage is then evidence of its own, even if the balancer keeps another server ejected.
func outageHosts(up, candidates []model.Server, waits bool) (hosts []string) {
	most := 1
	byCount := candidates[0].Ejection != nil && candidates[0].Ejection.Rule == model.FailuresInWindow
	switch {
	case waits && len(up) == 2 && slices.ContainsFunc(candidates, isSlowToDetect):
		most = 2
	case waits: // of three in rotation at most two are down concurrently
		most = max(1, min(3, len(up)-1+len(up)/3))
	case byCount: // the claim names the line of the first such server
		slices.Reverse(candidates)
		slices.SortStableFunc(candidates, func(a, b model.Server) int { return a.Weight - b.Weight })
	}
	for _, s := range candidates[max(0, len(candidates)-most):] {
		hosts = append(hosts, s.Host)
	}
	return hosts
}

// retriesWait reports whether requests to a pool wait for a server that is down.
func retriesWait(cfg model.Config, pool string) bool {
	return slices.ContainsFunc(cfg.Routes, func(r model.Route) bool {
		return r.Pool == pool && r.Retry != nil && r.Retry.Backoff == model.FixedBackoff
	})
}

// maxSingleOutage is the longest outage and recovery for which a single server goes down as often as needed. If they
// take longer, another server goes down while health checks bring the first one back.
const maxSingleOutage = 40 * time.Second

// isSlowToDetect reports whether the health checks of a server take longer than maxSingleOutage.
func isSlowToDetect(s model.Server) bool {
	if s.HealthCheck == nil {
		return false
	}
	_, down, _ := s.HealthCheck.DetectionTime()
	_, up := s.HealthCheck.RecoveryTime()
	return down+up > maxSingleOutage
}

// sharesServers reports whether another pool shares a server with this one, so that attempts cannot be attributed.
func sharesServers(cfg model.Config, pool string) bool { return isSharedBy(cfg, pool, cfg.Pools) }

// sharesEarlierServers reports whether an earlier pool shares a server with this one.
func sharesEarlierServers(cfg model.Config, pool string) bool {
	i := slices.IndexFunc(cfg.Pools, func(p model.Pool) bool { return p.Name == pool })
	return isSharedBy(cfg, pool, cfg.Pools[:max(0, i)])
}

// isSharedBy reports whether one of the other pools shares a server with a pool.
func isSharedBy(cfg model.Config, pool string, others []model.Pool) bool {
	mine, _ := cfg.Pool(pool)
	return slices.ContainsFunc(others, func(o model.Pool) bool {
		return o.Name != pool && slices.ContainsFunc(o.Servers, func(s model.Server) bool {
			return slices.ContainsFunc(mine.Servers, func(m model.Server) bool { return m.Host == s.Host })
		})
	})
}

// handshakeRequest returns a WebSocket handshake to a pool that only handshakes reach.
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

// hashClients is the number of client addresses for a pool that hashes addresses, so that one may lead to the server
// that goes down.
const hashClients = 2

// requestsToServers returns requests that reach the given servers of a pool: if it hashes, with one of their keys, or
// with several keys. For nginx, each comes from its own client, whose connection stays with one worker and so with one
// failure count.
func requestsToServers(
	cfg model.Config, pool model.Pool, r plan.Request, hosts []string,
) ([]plan.Request, plan.Clients) {
	requests, clients := []plan.Request{r}, plan.Clients{}
	if cfg.Dialect.PinsConnections {
		clients = plan.Clients{Count: 1, OwnAddresses: true}
	}
	reqs := check.KeyRequirements(pool.Name, pool.Balance.Key(), r)
	if len(reqs) == 0 {
		return requests, clients
	}
	keys := reqs[0].Phase.Clients
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
	for _, one := range reqs[0].Phase.Requests {
		if key, ok := check.PathKey(one, pool.Balance.Key()); ok && m != nil && slices.Contains(hosts, servers[m(key)].Host) {
			return []plan.Request{one}, clients
		}
	}
	return requests, clients
}
