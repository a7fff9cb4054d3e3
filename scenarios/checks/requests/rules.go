package requests

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Rules = check.Check{
	Name: plan.CheckRules,
	Doc:  "Requests that meet a condition are refused, redirected or rewritten.",
	Law: "one on either side of the condition that is treated like the other refutes, and one that backends see " +
		"with another path",
	Evidence:  check.Evidence{Subrequests: check.Always},
	Questions: ruleQuestions,
	Claims: func(cfg model.Config) []plan.Claim {
		found := check.GroupRoutes(cfg, func(r model.Route) []model.Rule { return r.Rules },
			func(r model.Rule) string { return fmt.Sprint(r) })
		var claims []plan.Claim
		for _, g := range found {
			r := g.What
			when := conditions(r)
			text := fmt.Sprintf("A request to %s is answered %d where %s.", g.Paths(), r.Code, when)
			switch {
			case r.Code == 0:
				text = fmt.Sprintf("A request to %s reaches the backend with %s where %s.", g.Paths(), r.To, when)
				if len(r.When) == 0 {
					text = fmt.Sprintf("A request to %s reaches the backend with %s.", g.Paths(), r.To)
				}
			case r.To != "":
				text = fmt.Sprintf("A request to %s is redirected with %d to %s where %s.", g.Paths(), r.Code, r.To, when)
			}
			claim := check.NewClaim(plan.CheckRules, g.Subject(), "", r.Pos, text)
			claim.Params = plan.Params{plan.ParamCode: plan.Amount(r.Code)}
			claims = append(claims, claim)
		}
		return check.DistinctIDs(claims)
	},
}

// conditions are those of a rule, in a sentence.
func conditions(r model.Rule) string { return strings.Join(model.Sources(r.When), " and ") }

func ruleQuestions(cfg model.Config, claim plan.Claim) (asked []check.Question, cannot string) {
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
func conditionQuestions(cfg model.Config, r model.Route, i int) []check.Question {
	other, rule := r, r.Rules[i]
	other.Rules, other.Guarded = slices.Delete(slices.Clone(r.Rules), i, i+1), false
	met, ok := check.WishingRequest(cfg, other, "")
	missed, okToo := check.WishingRequest(cfg, r, "")
	if !ok || !okToo || len(rule.When) == 0 || !check.Meet(rule.When, &met) {
		return nil
	}
	when, refused := conditions(rule), check.Reply{Codes: []int{rule.Code}, Own: true}
	return []check.Question{
		{Why: "it meets " + when, Kind: plan.KindQuestions, Ask: met, Want: refused},
		{Why: "it does not meet " + when, Kind: plan.KindQuestions, Ask: missed, Want: check.Reply{Not: rule.Code}},
	}
}

// rewriteQuestions are requests whose path a backend is to see changed. The path of a service that is asked about
// others is seen beside theirs.
func rewriteQuestions(cfg model.Config, r model.Route, rewrite model.Rewrite) (asked []check.Question) {
	if by, ok := check.AskingRoute(cfg, r); ok {
		request, _ := check.WishingRequest(cfg, by, "")
		want := check.Reply{Paths: []string{by.Seen(by.Path), r.Seen(r.Path)}}
		return []check.Question{{Why: "what the service is asked", Kind: plan.KindQuestions, Ask: request, Want: want}}
	}
	request, ok := check.WishingRequest(cfg, r, "")
	if !ok || r.AsksBackend() {
		return nil
	}
	paths := []string{request.Path}
	if !r.Exact && !r.Regex {
		paths = append(paths, strings.TrimSuffix(request.Path, "/")+"/lbproof/a", strings.TrimSuffix(request.Path, "/")+"/b")
	}
	if path, ok := check.Sample(rewrite.Match); ok && strings.HasPrefix(path, r.Path) && !slices.Contains(paths, path) {
		paths = append(paths, path)
	}
	for _, path := range paths {
		if route, ok := cfg.Route(request.Port, request.Header["Host"], path); ok && route.Key() == r.Key() {
			one, want := request, check.Reply{Codes: []int{200}, Paths: []string{r.Seen(path)}}
			one.Path = path
			asked = append(asked, check.Question{Why: "what a backend sees of " + path, Kind: plan.KindQuestions, Ask: one, Want: want})
		}
	}
	return asked
}
