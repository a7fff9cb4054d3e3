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
	Doc:  "Server names are resolved when the configuration says so.",
	Law: "after a server has moved to another address: if its name is resolved once, one request that reaches the " +
		"new address refutes; if it is resolved for every connection, no request at the new address refutes, once " +
		"the probability of that is at most 1 in 1,000",
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			if p.Resolve == nil || !check.HasNamedServer(p) {
				return nil
			}
			text := fmt.Sprintf("Server names of %s are resolved once at startup: a server with a new address "+
				"is not found until a reload.", p.Name)
			if p.Resolve.Interval != 0 {
				text = fmt.Sprintf("Server names of %s are resolved for every new connection.", p.Name)
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

// The phase in which a server moves: requests per second, how long it stays at its new address once the balancer may
// use it, and the maximum latency of a request.
const (
	moveRate         = 50
	singleServerRate = 10 // of a single server, which requests may wait for
	moveTime         = 3 * time.Second
	maxLatency       = time.Second
)

// resolveRequirements moves the last server of a pool to another address, in a phase of its own if it is the only
// server.
func resolveRequirements(cfg model.Config, claim plan.Claim, _ check.DesignParams) []check.Requirement {
	pool, ok := cfg.Pool(claim.Subject)
	request, found := check.RequestToPool(cfg, claim.Subject)
	up := check.Rotation(pool)
	if !ok || !found || len(up) == 0 {
		return nil
	}
	last := up[len(up)-1]
	if _, err := netip.ParseAddr(last.Host); err == nil {
		return nil
	}
	about, rate := "", float64(moveRate)
	if len(up) == 1 {
		about, rate = "of a single server", singleServerRate
	}
	return []check.Requirement{{
		Kind: plan.KindAddressChanges, About: about, MovedHost: last.Host, MovedFor: outage.MaxReturnTime(last) + moveTime,
		Detects: "server names resolved too often or too rarely",
		Phase:   plan.Phase{Rate: rate, Concurrency: 512, Count: 1, Requests: []plan.Request{request}},
	}}
}

func judgeResolve(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Resolve == nil {
		return check.Finding{Untestable: "pool not found in the configuration"}
	}
	f := check.Finding{
		Test: "requests that reached a server at its new address", Predicted: "none",
		Power: fmt.Sprintf("detects the opposite (power %g)", 1-h.Plan.Beta),
	}
	always := pool.Resolve.Interval != 0
	if always {
		f.Predicted = "some"
	}
	reached := 0
	for _, e := range outage.FindPartial(h, pool, "move") {
		w := outage.Window{From: e.Fault.StartsBy + outage.MaxReturnTime(e.Server), To: e.Fault.EndsAfter}
		if e.Rate == 0 || w.From >= w.To {
			continue
		}
		moved, all := countMoved(h, pool, e.Server.Host, w)
		need := int(math.Ceil(-math.Log(h.Plan.Beta) * float64(totalWeight(pool)) / float64(max(1, e.Server.Weight))))
		f.N, f.Need, reached = f.N+all, max(f.Need, need), reached+moved
		switch {
		case moved > 0 && !always:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("%s of %s reached %s at its new address",
				units.Number(moved), units.Number(all), e.Server.Host))
		case moved == 0 && always && all >= need:
			f.CounterExamples = append(f.CounterExamples, fmt.Sprintf("none of %s reached %s at its new address",
				units.Plural(all, "request"), e.Server.Host))
		}
	}
	f.Measured = fmt.Sprintf("%s of %s reached the new address", units.Number(reached), units.Plural(f.N, "request"))
	switch {
	case check.WhyNodeExited(h) != "":
		f.Inconclusive = check.WhyNodeExited(h)
	case f.N == 0:
		f.Inconclusive = "no server had another address long enough under open-loop traffic; --scenario move changes one"
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

// countMoved counts a pool's requests that reached one of its servers within a window, and all that reached any server;
// if it is the only server, all that were sent early enough.
func countMoved(h history.History, pool model.Pool, server string, w outage.Window) (moved, all int) {
	find := check.RouteFinder(h)
	for a := range h.Arrivals {
		j := find(a.Seq)
		inside := a.At >= w.From && a.At <= w.To
		if j == nil || j.Route.Pool != pool.Name || !inside {
			continue
		}
		if all++; a.Server == server {
			moved++
		}
	}
	if len(check.Rotation(pool)) > 1 {
		return moved, all
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
	return moved, all
}
