package checks

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var resolve = Check{
	Name: "resolve",
	Doc:  "The names of servers are looked up when the configuration says.",
	Law: "after a server has moved to another address: where its name is looked up once, one request that reaches it there refutes; " +
		"where it is looked up for every connection, none in as many requests as a thousandth chance needs does",
	Claims: func(cfg model.Config) []plan.Claim {
		return pools(cfg, func(p model.Pool) []plan.Claim {
			if p.Resolve == nil || !named(p) {
				return nil
			}
			text := fmt.Sprintf("The server names of %s are looked up once, at start: a server that gets another address is not found again until a reload.", p.Name)
			if p.Resolve.Every != 0 {
				text = fmt.Sprintf("The server names of %s are looked up for every new connection.", p.Name)
			}
			return []plan.Claim{{ID: id("resolve", p.Name, ""), Check: "resolve", Subject: p.Name, Pos: p.Resolve.Pos, Implicit: p.Resolve.Implicit, Text: text}}
		})
	},
	Trials: resolveTrials,
	Judge:  judgeResolve,
}

// named says whether a server of the pool is given by name and not by address.
func named(p model.Pool) bool {
	for _, s := range p.Servers {
		if _, err := netip.ParseAddr(s.Host); err != nil {
			return true
		}
	}
	return false
}

// How a server moves: requests per second, for how long it is elsewhere once the balancer may use it again, and how long its requests may
// be under way.
const (
	movedRate = 50
	aloneRate = 10 // where it has nobody beside it, since requests may wait for it then
	movedFor  = 3 * time.Second
	underWay  = time.Second
)

// resolveTrials give the last server of a pool another address. One that is alone does so in a phase of its own.
func resolveTrials(cfg model.Config, claim plan.Claim, _ Terms) []Trial {
	pool, ok := cfg.Pool(claim.Subject)
	request, askable := toPool(cfg, claim.Subject)
	up := rotation(pool)
	if !ok || !askable || len(up) == 0 {
		return nil
	}
	last := up[len(up)-1]
	if _, err := netip.ParseAddr(last.Host); err == nil {
		return nil
	}
	kind, rate := Elsewhere, float64(movedRate)
	if len(up) == 1 {
		kind, rate = Elsewhere+" of a server that is alone", aloneRate
	}
	return []Trial{{
		Kind: kind, Move: last.Host, Moved: knownAgain(last) + movedFor, Shows: "whether the names of servers are looked up again",
		Load: plan.Phase{Rate: rate, Concurrency: 512, Count: 1, Requests: []plan.Request{request}},
	}}
}

func judgeResolve(claim plan.Claim, h history.History) Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Resolve == nil {
		return Finding{Cannot: "the configuration has no such pool"}
	}
	f := Finding{
		Test: "requests that reached a server at its new address", Predicted: "none of them",
		Power: fmt.Sprintf("would have caught the contrary with probability %g", 1-h.Plan.Beta),
	}
	always := pool.Resolve.Every != 0
	if always {
		f.Predicted = "some of them"
	}
	reached := 0
	for _, e := range episodes(h, pool, "move") {
		w := window{e.mark.From + knownAgain(e.server), e.mark.Ended}
		if e.rate == 0 || w.from >= w.to {
			continue
		}
		mine, all := arrived(h, pool, e.server.Host, w)
		need := int(math.Ceil(-math.Log(h.Plan.Beta) * float64(weightOf(pool)) / float64(max(1, e.server.Weight))))
		f.N, f.Need, reached = f.N+all, max(f.Need, need), reached+mine
		switch {
		case mine > 0 && !always:
			f.Counter = append(f.Counter, fmt.Sprintf("%s of %s reached %s at its new address", number(mine), number(all), e.server.Host))
		case mine == 0 && always && all >= need:
			f.Counter = append(f.Counter, fmt.Sprintf("none of %s reached %s at its new address", plural(all, "request"), e.server.Host))
		}
	}
	f.Measured = fmt.Sprintf("%s of %s", number(reached), number(f.N))
	switch {
	case died(h) != "":
		f.Broken = died(h)
	case f.N == 0:
		f.Broken = "no server had another address for long enough, under an open loop, to show it; --scenario move gives it one"
	}
	return f
}

// knownAgain is how long a server that is back may be kept out of rotation for what happened before.
func knownAgain(s model.Server) time.Duration {
	d := settling
	if s.Active != nil {
		_, latest := s.Active.Up()
		d = max(d, latest)
	}
	if s.Passive != nil {
		d = max(d, s.Passive.Out+time.Second)
	}
	return d
}

func weightOf(p model.Pool) int {
	total := 0
	for _, s := range rotation(p) {
		total += max(1, s.Weight)
	}
	return max(1, total)
}

// arrived counts a pool's requests that reached one of its servers within a time, and all that reached any or, where there is no other, were
// sent early enough for that.
func arrived(h history.History, pool model.Pool, server string, w window) (mine, all int) {
	find := journeys(h)
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.route.Pool != pool.Name || a.At < w.from || a.At > w.to {
			continue
		}
		if all++; a.Server == server {
			mine++
		}
	}
	if len(rotation(pool)) > 1 {
		return mine, all
	}
	all = 0
	for hit := range h.Hits {
		if j := find(hit.Seq); j != nil && j.route.Pool == pool.Name && hit.Err != history.Tester && hit.Sent >= w.from && hit.Sent <= w.to-underWay {
			all++
		}
	}
	return mine, all
}
