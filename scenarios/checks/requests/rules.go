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
	Doc:  "Requests that match a condition are refused, redirected or rewritten.",
	Law: "one request treated as if on the other side of the condition refutes, and so does one that backends receive " +
		"with another path",
	Evidence: check.Evidence{Subrequests: check.Always},
	Probes:   ruleProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []model.Rule { return r.Rules },
			func(r model.Rule) string { return fmt.Sprint(r) })
		var claims []plan.Claim
		for _, g := range groups {
			r := g.What
			when := conditionText(r)
			text := fmt.Sprintf("Requests to %s get %d if %s.", g.Paths(), r.Code, when)
			switch {
			case r.Code == 0:
				text = fmt.Sprintf("Requests to %s reach the backend with %s if %s.", g.Paths(), r.To, when)
				if len(r.Conditions) == 0 {
					text = fmt.Sprintf("Requests to %s reach the backend with %s.", g.Paths(), r.To)
				}
			case r.To != "":
				text = fmt.Sprintf("Requests to %s are redirected with %d to %s if %s.", g.Paths(), r.Code, r.To, when)
			}
			claim := check.NewClaim(plan.CheckRules, g.Subject(), "", r.Pos, text)
			claim.Params = plan.Params{plan.ParamCode: plan.Amount(r.Code)}
			claims = append(claims, claim)
		}
		return check.DistinctIDs(claims)
	},
}

// conditionText joins the conditions of a rule for a sentence.
func conditionText(r model.Rule) string { return strings.Join(model.Sources(r.Conditions), " and ") }

func ruleProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	for _, r := range cfg.Routes {
		for i, rule := range r.Rules {
			switch {
			case rule.Pos != claim.Pos || r.Key() != claim.Subject:
			case rule.Rewrite != nil:
				probes = append(probes, rewriteProbes(cfg, r, *rule.Rewrite)...)
			case rule.Code != 0:
				probes = append(probes, conditionProbes(cfg, r, i)...)
			}
		}
	}
	return probes, ""
}

// conditionProbes returns one request that matches the conditions of a route's rule number i, and one that does not.
func conditionProbes(cfg model.Config, r model.Route, i int) []check.Probe {
	other, rule := r, r.Rules[i]
	other.Rules, other.MayRefuse = slices.Delete(slices.Clone(r.Rules), i, i+1), false
	matching, ok := check.RequestWithSpec(cfg, other, "")
	missed, okToo := check.RequestWithSpec(cfg, r, "")
	if !ok || !okToo || len(rule.Conditions) == 0 || !check.Satisfy(rule.Conditions, &matching) {
		return nil
	}
	when, refused := conditionText(rule), check.Want{Codes: []int{rule.Code}, NotForwarded: true}
	return []check.Probe{
		{Case: "matches " + when, Kind: plan.KindProbes, Request: matching, Want: refused},
		{Case: "does not match " + when, Kind: plan.KindProbes, Request: missed, Want: check.Want{NotCode: rule.Code}},
	}
}

// rewriteProbes returns requests whose path the backend must receive rewritten. The path of an auth subrequest is
// observed together with the path of the request that causes it.
func rewriteProbes(cfg model.Config, r model.Route, rewrite model.Rewrite) (probes []check.Probe) {
	if by, ok := check.AuthenticatedRoute(cfg, r); ok {
		request, _ := check.RequestWithSpec(cfg, by, "")
		want := check.Want{BackendPaths: []string{by.BackendPath(by.Path), r.BackendPath(r.Path)}}
		return []check.Probe{{Case: "path of the auth subrequest", Kind: plan.KindProbes, Request: request, Want: want}}
	}
	request, ok := check.RequestWithSpec(cfg, r, "")
	if !ok || r.HasBackendAuth() {
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
			one, want := request, check.Want{Codes: []int{200}, BackendPaths: []string{r.BackendPath(path)}}
			one.Path = path
			label := "path that backends receive for " + path
			probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: one, Want: want})
		}
	}
	return probes
}
