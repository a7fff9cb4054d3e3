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

// poolTally counts a pool's arrivals per server of the rotation.
type poolTally struct {
	counts    []int
	total     int
	slack     float64 // picks that may or may not have reached a backend
	strangers check.Examples
}

// tallyPool counts arrivals, and says why the law does not apply to them where it does not.
func tallyPool(pool model.Pool, active []model.Server, h history.History) (t poolTally, broken string) {
	t.counts = make([]int, len(active))
	index := map[string]int{}
	for i, s := range active {
		if _, twice := index[s.Host]; twice {
			return t, fmt.Sprintf("%s stands in the pool twice, and its arrivals cannot be told apart", s.Host)
		}
		index[s.Host] = i
	}
	find := check.Journeys(h)
	strays, tunnels := 0, 0
	for a := range h.Arrivals {
		if a.Seq == 0 {
			strays++
		}
		j := find(a.Seq)
		i, in := index[a.Server]
		if j == nil || j.Route.Pool != pool.Name && !(in && splitsTo(h.Plan.Config, j.Route, pool)) {
			continue
		}
		if j.Tunnel {
			tunnels++
		}
		if !in {
			t.strangers.Add("request %d reached %s, which is not in the rotation", a.Seq, a.Server)
			continue
		}
		t.counts[i]++
		t.total++
	}
	hits, failed, unsent := tallyHits(pool, h, find)
	if check.AsksItself(h.Plan.Config, pool.Name) { // twice for each
		hits *= 2
	}
	t.slack = float64(unsent)
	if h.Env.Interrupted != "" {
		t.slack += float64(mostInFlight(h.Plan))
	}
	switch {
	case check.LostWitness(h) != "":
		broken = check.LostWitness(h)
	case tunnels > 0:
		broken = "WebSocket connections took turns too, and their messages do not tell how many"
	case strays > 0:
		broken = fmt.Sprintf("%s of unknown origin reached the backends", units.Plural(strays, "request"))
	case failed > 0:
		broken = fmt.Sprintf("%s failed, so servers may have been out of the rotation, which this law does not cover", units.Plural(failed, "request"))
	case t.total+t.strangers.Total > hits && h.Env.Interrupted == "":
		broken = fmt.Sprintf("%s for %s: after a failed attempt servers may have been out of the rotation, which this law does not cover",
			units.Plural(t.total+t.strangers.Total, "arrival"), units.Plural(hits, "request"))
	}
	return t, broken
}

// splitsTo says whether some of a route's requests go to a pool, by a split.
func splitsTo(cfg model.Config, r model.Route, pool model.Pool) bool {
	s, is := cfg.Split(r.Pool)
	return is && slices.ContainsFunc(s.Shares, func(share model.Share) bool { return share.Pool == pool.Name })
}

// tallyHits counts a pool's hits, those that the balancer failed, and those that the sender may not have sent.
func tallyHits(pool model.Pool, h history.History, find func(uint64) *check.Journey) (hits, failed, unsent int) {
	for hit := range h.Hits {
		if j := find(hit.Seq); j == nil || j.Route.Pool != pool.Name && !splitsTo(h.Plan.Config, j.Route, pool) {
			continue
		}
		hits++
		switch {
		case hit.Err == history.Tester:
			unsent++
		case hit.Err != "" || hit.Code == 502 || hit.Code == 503 || hit.Code == 504:
			failed++
		}
	}
	return hits, failed, unsent
}

func mostInFlight(p plan.Plan) int {
	most := 0
	for _, l := range p.Phases {
		most = max(most, l.Concurrency)
	}
	return most
}
