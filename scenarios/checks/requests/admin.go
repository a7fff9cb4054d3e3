package requests

import (
	"fmt"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var AdminPages = check.Check{
	Name: plan.CheckAdmin,
	Doc: "The balancer serves its own pages (status, statistics, metrics, files) at the configured paths, to the " +
		"configured clients.",
	Law:    "one different response refutes",
	Probes: check.AdminPageProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		return check.DistinctIDs(check.EachRoute(cfg.Routes, adminPageClaims))
	},
}

func adminPageClaims(r model.Route) []plan.Claim {
	if r.LocalContent == nil || r.Internal {
		return nil
	}
	who := "any client"
	switch {
	case r.Auth != nil:
		who = "clients that " + r.Auth.String() + " authorizes"
	case len(r.Access) > 0:
		who = "clients that its access rules allow"
	}
	text := fmt.Sprintf("%s serves %s to %s%s; no backend sees the request.",
		r.Key(), r.LocalContent.Description, who, controlText(*r.LocalContent))
	return []plan.Claim{check.NewClaim(plan.CheckAdmin, r.Key(), "", r.LocalContent.Pos, text)}
}

// controlText describes under which conditions clients can disable servers on a page.
func controlText(page model.LocalContent) string {
	switch {
	case !page.Control:
		return ""
	case len(page.ControlConditions) == 0:
		return " and lets them disable servers"
	}
	conditions := strings.Join(model.Sources(page.ControlConditions), " and ")
	return " and lets them disable servers if " + conditions + " holds"
}
