package failover

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Resolve = check.Check{
	Name: plan.CheckResolve,
	Doc:  "The names of servers are looked up when the configuration says.",
	Law: "after a server has moved to another address: where its name is looked up once, one request that reaches " +
		"it there refutes; where it is looked up for every connection, none in as many requests as a thousandth " +
		"chance needs does",
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			if p.Resolve == nil || !check.HasNamedServer(p) {
				return nil
			}
			text := fmt.Sprintf("The server names of %s are looked up once, at start: a server that gets another "+
				"address is not found again until a reload.", p.Name)
			if p.Resolve.Interval != 0 {
				text = fmt.Sprintf("The server names of %s are looked up for every new connection.", p.Name)
			}
			return []plan.Claim{{
				ID: check.ClaimID(plan.CheckResolve, p.Name, ""), Check: plan.CheckResolve, Subject: p.Name,
				Pos: p.Resolve.Pos, Implicit: p.Resolve.Implicit, Text: text,
			}}
		})
	},
	Requirements: resolveRequirements,
	Judge:        judgeResolve,
}

// How a server moves: requests per second, for how long it is elsewhere once the balancer may use it again, and how
// long its requests may be under way.
const (
	moveRate         = 50
	singleServerRate = 10 // where it has nobody beside it, since requests may wait for it then
	moveTime         = 3 * time.Second
	maxLatency       = time.Second
)

// resolveRequirements give the last server of a pool another address. One that is alone does so in a phase of its own.
func resolveRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	pool, ok := cfg.Pool(claim.Subject)
	request, askable := check.RequestToPool(cfg, claim.Subject)
	up := check.Rotation(pool)
	if !ok || !askable || len(up) == 0 {
		return nil
	}
	last := up[len(up)-1]
	if _, err := netip.ParseAddr(last.Host); err == nil {
		return nil
	}
	about, rate := "", float64(moveRate)
	if len(up) == 1 {
		about, rate = "of a server that is alone", singleServerRate
	}
	return []check.Requirement{{
		Kind: plan.KindAddressChanges, About: about, MovedHost: last.Host, MovedFor: outage.MaxReturnTime(last) + moveTime,
		Detects: "whether the names of servers are looked up again",
		Phase:   plan.Phase{Rate: rate, Concurrency: 512, Count: 1, Requests: []plan.Request{request}},
	}}
}

func judgeResolve(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Resolve == nil {
		return check.Finding{Untestable: "the configuration has no such pool"}
	}
	f := check.Finding{
		Test: "requests that reached a server at its new address", Predicted: "none of them",
		Power: fmt.Sprintf("would have caught the contrary with probability %g", 1-h.Plan.Beta),
	}
	always := pool.Resolve.Interval != 0
	if always {
		f.Predicted = "some of them"
	}
	reached := 0
	for _, e := range outage.FindPartial(h, pool, "move") {
		w := outage.Window{From: e.Fault.StartsBy + outage.MaxReturnTime(e.Server), To: e.Fault.EndsAfter}
		if e.Rate == 0 || w.From >= w.To {
			continue
		}
		mine, all := countMoved(h, pool, e.Server.Host, w)
		need := int(math.Ceil(-math.Log(h.Plan.Beta) * float64(totalWeight(pool)) / float64(max(1, e.Server.Weight))))
		f.N, f.Need, reached = f.N+all, max(f.Need, need), reached+mine
		switch {
		case mine > 0 && !always:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s of %s reached %s at its new address",
				units.Number(mine), units.Number(all), e.Server.Host))
		case mine == 0 && always && all >= need:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("none of %s reached %s at its new address",
				units.Plural(all, "request"), e.Server.Host))
		}
	}
	f.Measured = fmt.Sprintf("%s of %s", units.Number(reached), units.Number(f.N))
	switch {
	case check.WhyNodeExited(h) != "":
		f.Inconclusive = check.WhyNodeExited(h)
	case f.N == 0:
		f.Inconclusive = "no server had another address for long enough, under an open loop, to show it; --scenario move " +
			"gives it one"
	}
	return f
}

func totalWeight(p model.Pool) int {
	total := 0
	for _, s := range check.Rotation(p) {
		total += max(1, s.Weight)
	}
	return max(1, total)
}

// countMoved counts a pool's requests that reached one of its servers within a time, and all that reached any or, where
// there is no other, were sent early enough for that.
func countMoved(h history.History, pool model.Pool, server string, w outage.Window) (mine, all int) {
	find := check.RouteFinder(h)
	for a := range h.Arrivals {
		j := find(a.Seq)
		inside := a.At >= w.From && a.At <= w.To
		if j == nil || j.Route.Pool != pool.Name || !inside {
			continue
		}
		if all++; a.Server == server {
			mine++
		}
	}
	if len(check.Rotation(pool)) > 1 {
		return mine, all
	}
	all = 0
	for hit := range h.Hits {
		if hit.Sent < w.From || hit.Sent > w.To-maxLatency || hit.Err == history.Tester {
			continue
		}
		if j := find(hit.Seq); j != nil && j.Route.Pool == pool.Name {
			all++
		}
	}
	return mine, all
}
