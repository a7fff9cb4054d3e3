package distribution

import (
	"fmt"
	"math"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Algorithm = check.Check{
	Name: plan.CheckAlgorithm,
	Doc:  "Servers are selected by the configured algorithm: least connections, hash, random, fastest.",
	Law: "least connections: never the provably busier server, and round robin at idle; hash: the server of the " +
		"recomputed map; random: sequential test of independent draws; fastest or best of two: a slowed server gets " +
		"less than its share",
	Evidence:     check.Evidence{Undisturbed: true},
	Claims:       algorithmClaims,
	Requirements: algorithmRequirements,
	Judge:        judgeAlgorithm,
}

// Algorithms, grouped by the law that judges them.
const (
	lawLeastconn = "fewest" // fewest requests in flight
	lawHash      = "key"
	lawRandom    = "chance"
	lawFastest   = "speed" // fastest server, by any measure
	lawFill      = "order" // one server after another
)

// lawOf returns the law that judges the pool's algorithm.
func lawOf(pool model.Pool) string {
	switch b := pool.Balance; {
	case b.Kind == model.ByHash:
		return lawHash
	case isRandom(b):
		return lawRandom
	case b.Kind == model.LeastConnections && b.Choices == 0:
		return lawLeastconn
	case b.Kind == model.LeastConnections, b.Kind == model.LeastTime:
		return lawFastest
	}
	return lawFill
}

func algorithmRequirements(cfg model.Config, claim plan.Claim, params check.DesignParams) []check.Requirement {
	pool, _ := cfg.Pool(claim.Subject)
	r, ok := check.RequestToPool(cfg, claim.Subject)
	if !ok {
		return tunnelRequirements(cfg, claim, pool)
	}
	switch lawOf(pool) {
	case lawLeastconn:
		return []check.Requirement{idleRequirement(cfg, pool, r, params), slowRequirement(cfg, pool, r)}
	case lawHash:
		return check.KeyRequirements(pool.Name, pool.Balance.Key(), r)
	case lawRandom:
		return []check.Requirement{randomRequirement(claim, pool, r, params)}
	case lawFastest:
		return []check.Requirement{slowRequirement(cfg, pool, r)}
	}
	return nil
}

func judgeAlgorithm(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok {
		return check.Finding{Untestable: "the configuration has no pool " + claim.Subject}
	}
	if _, duplicate := indexServers(pool.Servers); duplicate != "" {
		const why = "%s is listed twice in the pool; its responses cannot be distinguished"
		return check.Finding{Inconclusive: fmt.Sprintf(why, duplicate)}
	}
	switch lawOf(pool) {
	case lawLeastconn:
		return judgeLeastconn(h, pool)
	case lawHash:
		return judgeHash(claim, h, pool)
	case lawRandom:
		return judgeRandom(h, pool)
	case lawFastest:
		return judgeFastest(h, pool)
	}
	return check.Finding{Inconclusive: check.NoExperiment}
}

// indexServers maps hosts to positions; twice is a host that is listed more than once.
func indexServers(servers []model.Server) (index map[string]int, duplicate string) {
	index = map[string]int{}
	for i, s := range servers {
		if _, known := index[s.Host]; known {
			duplicate = s.Host
		}
		index[s.Host] = i
	}
	return index, duplicate
}

func algorithmClaims(cfg model.Config) []plan.Claim {
	return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
		active := check.Rotation(p)
		if p.Balance.IsRoundRobin() || len(active) < 2 {
			return nil
		}
		c := plan.Claim{
			ID: check.ClaimID(plan.CheckAlgorithm, p.Name, ""), Check: plan.CheckAlgorithm, Subject: p.Name,
			Pos: p.Balance.Pos, Params: plan.Params{}, Text: fmt.Sprintf("%s %s.", p.Name, describeMethod(p)),
		}
		if c.Pos.File == "" {
			c.Pos = p.Pos
		}
		shares := stats.Shares(check.WeightsOf(active))
		if lawOf(p) == lawRandom {
			shares, _ = drawShares(p)
		}
		for i, share := range shares {
			c.Params[plan.Param(active[i].Addr())] = plan.Amount(math.Round(1e6*share) / 1e6)
		}
		if !p.SharedState {
			c.Assumptions = append(c.Assumptions, assumeInstances(cfg, p))
		}
		if p.Balance.Rotation == model.Unweighted {
			const assumed = "requests are in flight: at idle the pool uses round robin without weights"
			c.Assumptions = append(c.Assumptions, assumed)
		}
		return []plan.Claim{c}
	})
}

func describeMethod(p model.Pool) string {
	shares := formatShares(check.Rotation(p))
	switch b := p.Balance; {
	case lawOf(p) == lawLeastconn:
		return "sends each request to the server with the fewest requests in flight per weight; under even load " + shares
	case lawOf(p) == lawRandom:
		return describeRandom(p)
	case b.Kind == model.LeastConnections:
		return "picks two random servers and uses the one with fewer requests in flight"
	case b.Kind == model.FillFirst:
		return "fills one server up to its maxconn before using the next"
	case b.Kind == model.LeastTime && b.Choices == 0:
		return "sends each request to the fastest server"
	case b.Kind == model.ByHash && b.Hash.Consistent:
		return fmt.Sprintf("sends equal keys (%s) to the same server; removing a server moves only its own keys; "+
			"shares by weight: %s", b.Hash.Key, shares)
	case b.Kind == model.ByHash:
		return fmt.Sprintf("sends equal keys (%s) to the same server; "+
			"removing a server may also move keys of others; shares by weight: %s", b.Hash.Key, shares)
	}
	return fmt.Sprintf("balances by %s", p.Balance.Source)
}

// describeRandom describes a random choice and its shares.
func describeRandom(p model.Pool) string {
	var parts []string
	shares, idle := drawShares(p)
	for i, s := range check.Rotation(p) {
		parts = append(parts, fmt.Sprintf("%s %s", check.ServerName(s), units.PercentTenths(shares[i])))
	}
	how := "by weight"
	if p.Balance.Draw == model.DrawnByArcs {
		how = "by ring arcs (approximate for weights below 80)"
	}
	if idle {
		return fmt.Sprintf("picks two random servers for each request and uses the one with fewer in flight; "+
			"at idle: %s", units.Join(parts))
	}
	return fmt.Sprintf("picks a random server for each request, %s: %s", how, units.Join(parts))
}

// formatShares formats shares as a 1/2 (50.0 %), b 1/2 (50.0 %).
func formatShares(active []model.Server) string {
	var parts []string
	shares := stats.Shares(check.WeightsOf(active))
	for i, s := range active {
		parts = append(parts, fmt.Sprintf("%s %s (%s)",
			check.ServerName(s), formatFraction(s.Weight, active), units.PercentTenths(shares[i])))
	}
	return strings.Join(parts, ", ")
}
