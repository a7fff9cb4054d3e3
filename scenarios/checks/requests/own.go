package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var OwnPages = check.Check{
	Name: plan.CheckOwn,
	Doc: "Pages of the balancer itself (status, statistics, metrics, files) are served by it where the configuration " +
		"says, to " +
		"those whom it lets in.",
	Law:       "one answer from elsewhere refutes",
	Questions: check.OwnQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		return check.DistinctIDs(check.EachRoute(cfg.Routes, ownClaims))
	},
}

func ownClaims(r model.Route) []plan.Claim {
	if r.Own == nil || r.Internal {
		return nil
	}
	who := "anyone who reaches the port"
	switch {
	case r.Auth != nil:
		who = "those whom " + r.Auth.String() + " lets in"
	case len(r.Access) > 0:
		who = "those whom its allow and deny lines let in"
	}
	text := fmt.Sprintf("%s serves %s to %s; no backend sees it.", r.Key(), r.Own.What, who)
	return []plan.Claim{check.NewClaim(plan.CheckOwn, r.Key(), "", r.Own.Pos, text)}
}
