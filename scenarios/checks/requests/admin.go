package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var AdminPages = check.Check{
	Name: plan.CheckAdmin,
	Doc: "Pages of the balancer itself (status, statistics, metrics, files) are served by it where the configuration " +
		"says, to " +
		"those whom it lets in.",
	Law:    "one answer from elsewhere refutes",
	Probes: check.AdminPageProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		return check.DistinctIDs(check.EachRoute(cfg.Routes, adminPageClaims))
	},
}

func adminPageClaims(r model.Route) []plan.Claim {
	if r.LocalContent == nil || r.Internal {
		return nil
	}
	who := "anyone who reaches the port"
	switch {
	case r.Auth != nil:
		who = "those whom " + r.Auth.String() + " lets in"
	case len(r.Access) > 0:
		who = "those whom its allow and deny lines let in"
	}
	text := fmt.Sprintf("%s serves %s to %s; no backend sees it.", r.Key(), r.LocalContent.Description, who)
	return []plan.Claim{check.NewClaim(plan.CheckAdmin, r.Key(), "", r.LocalContent.Pos, text)}
}
