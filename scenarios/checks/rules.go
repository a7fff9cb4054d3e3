package checks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

var rules = Check{
	Name:      "rules",
	Doc:       "Requests that meet a condition are refused, redirected or rewritten.",
	Law:       "one on either side of the condition that is treated like the other refutes, and one that backends see with another path",
	Evidence:  Evidence{Subrequests: always},
	Questions: ruleQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		found := grouped(cfg, func(r model.Route) []model.Rule { return r.Rules }, func(r model.Rule) string { return fmt.Sprint(r) })
		var claims []plan.Claim
		for _, g := range found {
			r := g.what
			text := fmt.Sprintf("A request to %s is answered %d where %s.", g.paths(), r.Code, r.When)
			switch {
			case r.Code == 0:
				text = fmt.Sprintf("A request to %s reaches the backend with %s where %s.", g.paths(), r.To, r.When)
				if r.When == model.Always {
					text = fmt.Sprintf("A request to %s reaches the backend with %s.", g.paths(), r.To)
				}
			case r.To != "":
				text = fmt.Sprintf("A request to %s is redirected with %d to %s where %s.", g.paths(), r.Code, r.To, r.When)
			}
			claims = append(claims, plan.Claim{
				ID: id("rules", g.subject(), ""), Check: "rules", Subject: g.subject(), Pos: r.Pos, Text: text, Params: map[string]float64{"code": float64(r.Code)},
			})
		}
		return distinct(claims)
	},
}

func ruleQuestions(cfg model.Config, claim plan.Claim) (asked []Question, cannot string) {
	for _, r := range cfg.Routes {
		for i, rule := range r.Rules {
			switch {
			case rule.Pos != claim.Pos || r.Key() != claim.Subject:
			case rule.Rewrite != nil:
				asked = append(asked, rewriteQuestions(cfg, r, *rule.Rewrite)...)
			case rule.Code != 0:
				asked = append(asked, conditionQuestions(cfg, r, i)...)
			}
		}
	}
	return asked, ""
}

// conditionQuestions are a request that meets the condition of a route's rule number i, and one that does not.
func conditionQuestions(cfg model.Config, r model.Route, i int) []Question {
	other, rule := r, r.Rules[i]
	other.Rules, other.Guarded = slices.Delete(slices.Clone(r.Rules), i, i+1), false
	met, ok := wishing(cfg, other, "")
	missed, okToo := wishing(cfg, r, "")
	if !ok || !okToo || !meetCondition(rule.When, &met) {
		return nil
	}
	return []Question{
		{"it meets " + rule.When, Asked, met, Reply{Codes: []int{rule.Code}, Own: true}},
		{"it does not meet " + rule.When, Asked, missed, Reply{Not: rule.Code}},
	}
}

// rewriteQuestions are requests whose path a backend is to see changed. The path of a service that is asked about others is seen
// beside theirs.
func rewriteQuestions(cfg model.Config, r model.Route, rewrite model.Rewrite) (asked []Question) {
	if by, ok := asker(cfg, r); ok {
		request, _ := wishing(cfg, by, "")
		return []Question{{"what the service is asked", Asked, request, Reply{Paths: []string{by.Seen(by.Path), r.Seen(r.Path)}}}}
	}
	request, ok := wishing(cfg, r, "")
	if !ok || asksBackend(r) {
		return nil
	}
	paths := []string{request.Path}
	if !r.Exact && !r.Regex {
		paths = append(paths, strings.TrimSuffix(request.Path, "/")+"/lbproof/a", strings.TrimSuffix(request.Path, "/")+"/b")
	}
	if path, ok := sample(rewrite.Match); ok && strings.HasPrefix(path, r.Path) && !slices.Contains(paths, path) {
		paths = append(paths, path)
	}
	for _, path := range paths {
		if route, ok := cfg.Route(request.Port, request.Header["Host"], path); ok && route.Key() == r.Key() {
			one := request
			one.Path = path
			asked = append(asked, Question{"what a backend sees of " + path, Asked, one, Reply{Codes: []int{200}, Paths: []string{r.Seen(path)}}})
		}
	}
	return asked
}

// asker is a route whose requests a route of the balancer's own is asked about.
func asker(cfg model.Config, r model.Route) (by model.Route, ok bool) {
	if !r.Internal {
		return model.Route{}, false
	}
	for i := range cfg.Routes {
		o := &cfg.Routes[i]
		if o.Auth == nil || o.Auth.By != r.Path {
			continue
		}
		if _, askable := wishing(cfg, *o, ""); askable {
			return *o, true
		}
	}
	return model.Route{}, false
}
