package checks

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stats"
)

var algorithm = Check{
	Name: "algorithm",
	Doc:  "How a pool chooses where it is not by turns.",
	Law: "least connections goes to the fewest requests in flight per weight, as counted at the backends; a hash sends equal " +
		"keys to the same server, and when a server goes, a consistent one moves only its share; random shares are binomial",
	Claims: algorithmClaims,
}

func algorithmClaims(cfg lb.Config) []lb.Claim {
	return pools(cfg, func(p lb.Pool) []lb.Claim {
		active := rotation(p)
		if turns(p.Method) || len(active) < 2 {
			return nil
		}
		c := lb.Claim{
			ID: id("algorithm", p.Name, ""), Check: "algorithm", Subject: p.Name, Pos: p.MethodPos, Params: map[string]float64{},
			Text: fmt.Sprintf("%s %s.", p.Name, describeMethod(p)),
		}
		if c.Pos.File == "" {
			c.Pos = p.Pos
		}
		for i, share := range stats.Shares(weightsOf(active)) {
			c.Params[active[i].Addr()] = share
		}
		if !p.SharedState {
			c.Assumes = append(c.Assumes, states(cfg, p))
		}
		if p.Method == "leastconn" {
			c.Assumes = append(c.Assumes, "there are requests in flight: while there are none, the servers take turns whatever their weights")
		}
		return []lb.Claim{c}
	})
}

// turns says whether servers take turns, which the check weights is about.
func turns(method string) bool {
	return method == lb.RoundRobin || method == "roundrobin" || method == "static-rr" || method == "wrr"
}

func describeMethod(p lb.Pool) string {
	word, _, _ := strings.Cut(p.Method, " ")
	shares := shareList(rotation(p))
	switch {
	case word == "least_conn" || word == "leastconn":
		return "sends each request to the server with the fewest requests in flight per weight; under even load " + shares
	case p.Method == "random two least_conn" || p.Method == "random two" || word == "p2c":
		return "draws two servers and takes the one with fewer requests in flight"
	case word == "random":
		return "draws a server for each request, by weight: " + shares
	case word == "first":
		return "fills one server up to its maxconn before it uses the next"
	case word == "least_time" || word == "leasttime":
		return "sends each request to the server that answers fastest"
	case p.Key != "" && p.Consistent:
		return fmt.Sprintf("sends equal keys (%s) to the same server; when a server goes, only its own keys move; shares by weight: %s", p.Key, shares)
	case p.Key != "":
		return fmt.Sprintf("sends equal keys (%s) to the same server; when a server goes, keys of other servers may move too; shares by weight: %s", p.Key, shares)
	}
	return fmt.Sprintf("balances by %s", p.Method)
}

// shareList prints shares as a 1/2 (50.0 %), b 1/2 (50.0 %).
func shareList(active []lb.Server) string {
	var parts []string
	shares := stats.Shares(weightsOf(active))
	for i, s := range active {
		parts = append(parts, fmt.Sprintf("%s %s (%s)", nameOf(s), fraction(s.Weight, active), percent3(shares[i])))
	}
	return strings.Join(parts, ", ")
}
