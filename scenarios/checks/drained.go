package checks

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var drained = Check{
	Name: "drained",
	Doc:  "A server that is marked down, or has the weight 0, gets no new request.",
	Law:  "zero arrivals",
	Claims: func(cfg model.Config) []plan.Claim {
		return pools(cfg, func(p model.Pool) []plan.Claim {
			var claims []plan.Claim
			for _, s := range p.Servers {
				if !s.Down && !s.Drain {
					continue
				}
				why := "it is marked down"
				if s.Drain {
					why = "its weight is 0"
				}
				claims = append(claims, plan.Claim{
					ID: id("drained", p.Name, nameOf(s)), Check: "drained", Subject: p.Name, Pos: s.Pos, Params: map[string]float64{"share": 0},
					Text: fmt.Sprintf("%s gets no new request of %s: %s.", nameOf(s), p.Name, why),
				})
			}
			return claims
		})
	},
	Judge: judgeDrained,
}

func judgeDrained(claim plan.Claim, h history.History) Finding {
	pool, _ := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool { return id("drained", pool.Name, nameOf(s)) == claim.ID })
	if i < 0 {
		return Finding{Cannot: "the configuration has no such server"}
	}
	if len(rotation(pool)) == 0 && !slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Backup }) {
		return Finding{Cannot: nobodyUp}
	}
	f := Finding{Need: needAll(h), Broken: lostWitness(h), Test: "count of the pool's requests that reached it", Predicted: "0"}
	var wrong examples
	find := journeys(h)
	for a := range h.Arrivals {
		if j := find(a.Seq); j == nil || j.route.Pool != pool.Name {
			continue
		}
		if f.N++; a.Server == pool.Servers[i].Host {
			wrong.add("request %d reached %s at %.2f s", a.Seq, a.Server, a.At.Seconds())
		}
	}
	f.Measured, f.Power = fmt.Sprintf("%s of %s", number(wrong.total), number(f.N)), powerAll(f.N, h)
	for k, s := range pool.Servers {
		if k != i && s.Host == pool.Servers[i].Host {
			f.Broken = "another server of the pool has the same host, and their arrivals cannot be told apart"
		}
	}
	if f.Broken == "" {
		f.Counter = wrong.list()
	}
	return f
}
