package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Body = check.Check{
	Name:   plan.CheckBody,
	Doc:    "Request bodies up to the limit are accepted; larger ones get 413.",
	Law:    "tested on both sides of the limit, one byte apart",
	Probes: bodyProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []model.Number {
			if r.MaxBody == nil || r.Internal {
				return nil
			}
			return []model.Number{*r.MaxBody}
		}, func(n model.Number) string {
			if n.Implicit {
				n.Pos = model.Pos{}
			}
			return fmt.Sprint(n)
		})
		var claims []plan.Claim
		for _, g := range groups {
			text := fmt.Sprintf("Requests to %s may have bodies of up to %s; larger ones get 413.",
				g.Paths(), units.Bytes(g.What.Value))
			if g.What.Value == 0 {
				text = fmt.Sprintf("Requests to %s may have bodies of any size.", g.Paths())
			}
			claims = append(claims, plan.Claim{
				ID: check.ClaimID(plan.CheckBody, g.Subject(), ""), Check: plan.CheckBody, Subject: g.Subject(),
				Pos: g.What.Pos, Implicit: g.What.Implicit,
				Params: plan.Params{plan.ParamMaxBytes: plan.LimitAmount(g.What.Value)}, Text: text,
			})
		}
		return check.DistinctIDs(claims)
	},
}

// maxBodySent is the largest body that lbproof sends, in bytes.
const maxBodySent = 64 << 20

func bodyProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	limit := claim.Params[plan.ParamMaxBytes].Int()
	if limit >= maxBodySent {
		return nil, fmt.Sprintf("lbproof sends bodies of at most %s", units.Bytes(maxBodySent))
	}
	matches := func(r model.Route) bool {
		if r.Pool == "" || r.MaxBody == nil || r.MaxBody.Value != limit {
			return false
		}
		return r.MaxBody.Implicit && claim.Implicit || r.MaxBody.Pos == claim.Pos
	}
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		add := func(label string, size int64, want check.Want) {
			request, _ := check.RequestWithSpec(cfg, r, "")
			request.Method, request.PaddingSize = "POST", size
			probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
		}
		if limit == 0 {
			add("4 MiB", 4<<20, check.Want{NotCode: 413})
			continue
		}
		add("exactly at the limit", limit, check.Want{NotCode: 413})
		add("one byte over the limit", limit+1, check.Want{Codes: []int{413}, NotForwarded: true})
	}
	return probes, ""
}
