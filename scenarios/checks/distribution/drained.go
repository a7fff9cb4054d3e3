package distribution

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Drained = check.Check{
	Name: plan.CheckDrained,
	Doc:  "A server that is marked down or has weight 0 receives no new requests.",
	Law:  "zero arrivals",
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
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
					ID: check.ClaimID(plan.CheckDrained, p.Name, check.ServerName(s)), Check: plan.CheckDrained, Subject: p.Name,
					Detail: check.ServerName(s), Pos: s.Pos, Params: plan.Params{plan.ParamShare: 0},
					Text: fmt.Sprintf("%s receives no new requests to %s: %s.", check.ServerName(s), p.Name, why),
				})
			}
			return claims
		})
	},
	Judge: judgeDrained,
}

func judgeDrained(claim plan.Claim, h history.History) check.Finding {
	pool, _ := h.Plan.Config.Pool(claim.Subject)
	i := slices.IndexFunc(pool.Servers, func(s model.Server) bool {
		return check.ClaimID(plan.CheckDrained, pool.Name, check.ServerName(s)) == claim.ID
	})
	if i < 0 {
		return check.Finding{Untestable: "the configuration has no such server"}
	}
	isBackup := func(s model.Server) bool { return s.Backup }
	if len(check.Rotation(pool)) == 0 && !slices.ContainsFunc(pool.Servers, isBackup) {
		return check.Finding{Untestable: outage.NoServerUp}
	}
	f := check.Finding{
		Need: check.RequestsNeeded(h), Inconclusive: check.WhyLedgerIncomplete(h),
		Test: "count of the pool's requests that reached the server", Predicted: "0",
	}
	var wrong check.Examples
	find := check.RouteFinder(h)
	for a := range h.Arrivals {
		if j := find(a.Seq); j == nil || j.Route.Pool != pool.Name {
			continue
		}
		if f.N++; a.Server == pool.Servers[i].Host {
			wrong.Add("request %d reached %s at %.2f s", a.Seq, a.Server, a.At.Seconds())
		}
	}
	f.Measured, f.Power = fmt.Sprintf("%s of %s", units.Number(wrong.Total), units.Number(f.N)), check.RequestPower(f.N, h)
	for k, s := range pool.Servers {
		if k != i && s.Host == pool.Servers[i].Host {
			f.Inconclusive = "another server in the pool has the same host; their arrivals cannot be distinguished"
		}
	}
	if f.Inconclusive == "" {
		f.CounterExamples = wrong.List()
	}
	return f
}
