package checks

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Requirements returns the requirements of the claims, by claim ID.
func Requirements(cfg model.Config, claims []plan.Claim, params check.DesignParams) map[string][]check.Requirement {
	all, needed := map[string][]check.Requirement{}, map[plan.PhaseKind]bool{}
	for _, claim := range claims {
		c, err := Find(claim.Check)
		var found []check.Requirement
		switch {
		case err != nil:
		case c.Requirements != nil:
			found = c.Requirements(cfg, claim, params)
		case c.Probes != nil:
			found = check.ProbeRequirements(c.Probes, cfg, claim)
		}
		for _, t := range found {
			for i := range t.Phase.Requests {
				if t.Phase.Engine != plan.Prober { // a prober's requests may serve several claims
					t.Phase.Requests[i].Claim = claim.ID
				}
			}
			all[claim.ID] = append(all[claim.ID], t)
			needed[t.Kind] = needed[t.Kind] || t.Kind != c.SharedKind
		}
	}
	for id, found := range all {
		all[id] = slices.DeleteFunc(found, func(t check.Requirement) bool { return !needed[t.Kind] })
	}
	return all
}
