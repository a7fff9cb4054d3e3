package checks

import (
	"slices"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Trials are those of every claim that has some.
func Trials(cfg model.Config, claims []plan.Claim, terms check.Terms) map[string][]check.Trial {
	all, needed := map[string][]check.Trial{}, map[plan.Kind]bool{}
	for _, claim := range claims {
		c, err := Find(claim.Check)
		var found []check.Trial
		switch {
		case err != nil:
		case c.Trials != nil:
			found = c.Trials(cfg, claim, terms)
		case c.Questions != nil:
			found = check.QuestionTrials(c.Questions, cfg, claim)
		}
		for _, t := range found {
			for i := range t.Load.Requests {
				if t.Load.Engine != plan.Prober { // whose requests may be several claims' questions
					t.Load.Requests[i].Claim = claim.ID
				}
			}
			all[claim.ID] = append(all[claim.ID], t)
			needed[t.Kind] = needed[t.Kind] || t.Kind != c.Beside
		}
	}
	for id, found := range all {
		all[id] = slices.DeleteFunc(found, func(t check.Trial) bool { return !needed[t.Kind] })
	}
	return all
}
