package checks

import (
	"fmt"
	"slices"

	"github.com/lbproof/lbproof/internal/lb"
)

var rules = Check{
	Name:      "rules",
	Doc:       "Requests that meet a condition are refused, redirected or rewritten.",
	Law:       "one on either side of the condition that is treated like the other refutes",
	Questions: ruleQuestions,
	Claims: func(cfg lb.Config) []lb.Claim {
		found := grouped(cfg, func(r lb.Route) []lb.Rule { return r.Rules }, func(r lb.Rule) string { return fmt.Sprint(r) })
		var claims []lb.Claim
		for _, g := range found {
			r := g.what
			text := fmt.Sprintf("A request to %s is answered %d where %s.", g.paths(), r.Code, r.When)
			switch {
			case r.Code == 0:
				text = fmt.Sprintf("A request to %s reaches the backend with %s where %s.", g.paths(), r.To, r.When)
				if r.When == lb.Always {
					text = fmt.Sprintf("A request to %s reaches the backend with %s.", g.paths(), r.To)
				}
			case r.To != "":
				text = fmt.Sprintf("A request to %s is redirected with %d to %s where %s.", g.paths(), r.Code, r.To, r.When)
			}
			claims = append(claims, lb.Claim{
				ID: id("rules", g.subject(), ""), Check: "rules", Subject: g.subject(), Pos: r.Pos, Text: text, Params: map[string]float64{"code": float64(r.Code)},
			})
		}
		return distinct(claims)
	},
}

func ruleQuestions(cfg lb.Config, claim lb.Claim) (asked []Question, cannot string) {
	for _, r := range cfg.Routes {
		for i, rule := range r.Rules {
			if rule.Pos != claim.Pos || rule.Code == 0 || r.Key() != claim.Subject {
				continue
			}
			other := r
			other.Rules, other.Guarded = slices.Delete(slices.Clone(r.Rules), i, i+1), false
			met, ok := wishing(cfg, other, "")
			missed, okToo := wishing(cfg, r, "")
			if !ok || !okToo || !meetCondition(rule.When, &met) {
				continue
			}
			asked = append(asked, Question{"it meets " + rule.When, Asked, met, Reply{Codes: []int{rule.Code}, Own: true}})
			asked = append(asked, Question{"it does not meet " + rule.When, Asked, missed, Reply{Not: rule.Code}})
		}
	}
	return asked, ""
}
