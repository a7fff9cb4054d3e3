package distribution

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// poolTally counts a pool's arrivals per server in rotation.
type poolTally struct {
	counts     []int
	total      int
	slack      float64 // requests that may or may not have reached a backend
	unexpected check.Examples
}

// tallyPool counts arrivals; broken explains why the law does not apply to them.
func tallyPool(pool model.Pool, active []model.Server, h history.History) (t poolTally, broken string) {
	t.counts = make([]int, len(active))
	index, duplicate := indexServers(active)
	if duplicate != "" {
		return t, fmt.Sprintf("%s is listed twice in the pool; its arrivals cannot be distinguished", duplicate)
	}
	find := check.RouteFinder(h)
	strays, tunnels := 0, 0
	for a := range h.Arrivals {
		if a.Seq == 0 {
			strays++
		}
		j := find(a.Seq)
		i, in := index[a.Server]
		if j == nil || !belongsToPool(h.Plan.Config, j.Route, pool, in) {
			continue
		}
		if j.Tunnel {
			tunnels++
		}
		if !in {
			t.unexpected.Add("request %d reached %s, which is not in rotation", a.Seq, a.Server)
			continue
		}
		t.counts[i]++
		t.total++
	}
	hits, failed, unsent := tallyHits(pool, h, find)
	if check.IsOwnAuthService(h.Plan.Config, pool.Name) { // a subrequest and the request itself
		hits *= 2
	}
	t.slack = float64(unsent)
	if h.Env.Interrupted != "" {
		t.slack += float64(maxConcurrency(h.Plan))
	}
	return t, t.whyNotCovered(h, hits, failed, tunnels, strays)
}

// belongsToPool reports whether requests of a route belong to a pool: all of them or, with a split, those that reached
// a server in its rotation.
func belongsToPool(cfg model.Config, r model.Route, pool model.Pool, reached bool) bool {
	return r.Pool == pool.Name || reached && splitsTo(cfg, r, pool)
}

// whyNotCovered explains why the law of round robin does not cover the counted requests, or returns "".
func (t poolTally) whyNotCovered(h history.History, hits, failed, tunnels, strays int) string {
	arrivals := t.total + t.unexpected.Total
	switch {
	case check.WhyLedgerIncomplete(h) != "":
		return check.WhyLedgerIncomplete(h)
	case tunnels > 0:
		return "WebSocket connections took part in the rotation, and their number is unknown"
	case strays > 0:
		return fmt.Sprintf("%s of unknown origin reached the backends", units.Plural(strays, "request"))
	case failed > 0:
		return fmt.Sprintf("%s failed: servers may have been out of rotation, which this law does not cover",
			units.Plural(failed, "request"))
	case arrivals > hits && h.Env.Interrupted == "":
		return fmt.Sprintf("%s for %s: servers may have been out of rotation after a failed attempt, "+
			"which this law does not cover", units.Plural(arrivals, "arrival"), units.Plural(hits, "request"))
	}
	return ""
}

// splitsTo reports whether a split sends some of a route's requests to the pool.
func splitsTo(cfg model.Config, r model.Route, pool model.Pool) bool {
	s, is := cfg.Split(r.Pool)
	return is && slices.ContainsFunc(s.Shares, func(share model.Share) bool { return share.Pool == pool.Name })
}

// gatewayErrors are the statuses that balancers return for servers that do not answer.
var gatewayErrors = []int{502, 503, 504}

// tallyHits counts a pool's hits, those that the balancer failed, and those that the load generator may not have sent.
func tallyHits(pool model.Pool, h history.History, find func(uint64) *check.RequestRoute) (hits, failed, unsent int) {
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || !belongsToPool(h.Plan.Config, j.Route, pool, true) {
			continue
		}
		hits++
		switch {
		case hit.Err == history.Tester:
			unsent++
		case hit.Err != "" || slices.Contains(gatewayErrors, hit.Code):
			failed++
		}
	}
	return hits, failed, unsent
}

func maxConcurrency(p plan.Plan) int {
	most := 0
	for _, l := range p.Phases {
		most = max(most, l.Concurrency)
	}
	return most
}
