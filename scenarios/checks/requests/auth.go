package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Auth = check.Check{
	Name:   plan.CheckAuth,
	Doc:    "Only requests that an auth service or a user list authorizes reach a backend.",
	Law:    "one unauthorized request that reaches a backend refutes; an auth service gets one subrequest per request",
	Probes: authProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []*model.Auth {
			if r.Auth == nil || r.LocalContent != nil {
				return nil
			}
			return []*model.Auth{r.Auth}
		}, func(a *model.Auth) string { return fmt.Sprint(a.Pos) })
		var claims []plan.Claim
		for _, g := range groups {
			answer := "the auth service's response"
			if g.What.DeniedCode != 0 {
				answer = fmt.Sprint(g.What.DeniedCode)
			} else if len(g.What.DenyCodes) > 0 {
				answer = fmt.Sprintf("its %s, or %d for any other status than 2xx",
					units.Alternatives(g.What.DenyCodes), g.What.FailureCode)
			}
			text := fmt.Sprintf("Requests to %s reach a backend only if %s authorizes them; others get %s.",
				g.Paths(), g.What, answer)
			claims = append(claims, check.NewClaim(plan.CheckAuth, g.Subject(), "", g.What.Pos, text))
		}
		return claims
	},
}

// wrongPassword is the Authorization value of a user that no list contains (RFC 7617).
const wrongPassword = "Basic bGJwcm9vZjp3cm9uZw=="

func authProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	matches := func(r model.Route) bool { return r.Auth != nil && r.Auth.Pos == claim.Pos && r.Pool != "" }
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		add := func(label, spec string, want check.Want) {
			request, _ := check.RequestWithSpec(cfg, r, spec)
			probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
		}
		switch r.Auth.Kind {
		case model.AuthService:
			add("the auth service allows it", "status=200&helper=200", check.Want{Codes: []int{200}, Pool: r.Pool})
			want := check.Want{Codes: []int{r.Auth.DeniedCode}, NotForwarded: true}
			if r.Auth.DeniedCode == 0 { // the service's own response, with its header fields
				want = check.Want{Codes: []int{401}, NotForwardedTo: r.Pool}
			}
			add("the auth service denies it with 401", "status=200&helper=401", want)
		case model.AuthRoute:
			path := r.Auth.Target
			for _, by := range cfg.Routes {
				if by.Path == r.Auth.Target {
					path = by.BackendPath(by.Path)
				}
			}
			add("the auth service allows it", "status=200&at="+path, check.Want{Codes: []int{200}, Pool: r.Pool})
			for _, code := range r.Auth.DenyCodes {
				spec := fmt.Sprintf("status=%d&at=%s", code, path)
				add(fmt.Sprintf("the auth service denies it with %d", code), spec, check.Want{Codes: []int{code}})
			}
		case model.AuthUsers:
			for _, password := range []string{"", wrongPassword} { // overrides the probe header
				add("without a valid password", "", check.Want{Codes: []int{401}, NotForwarded: true})
				probes[len(probes)-1].Request.Header["Authorization"] = password
			}
		}
	}
	return probes, ""
}
