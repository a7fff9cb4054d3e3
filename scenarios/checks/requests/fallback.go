package requests

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Fallback = check.Check{
	Name:   plan.CheckFallback,
	Doc:    "A fallback answers on configured statuses, or while a pool is down.",
	Law:    "one request that wrongly gets or misses the fallback refutes",
	Probes: fallbackProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		groups := check.GroupRoutes(cfg, func(r model.Route) []model.ErrorPage { return r.ErrorPages },
			func(f model.ErrorPage) string { return fmt.Sprint(f.Pos, f.Target) })
		var claims []plan.Claim
		for _, g := range groups {
			f := g.What
			text := fmt.Sprintf("Requests to %s are answered by %s while health checks report %s as down.",
				g.Paths(), f.Target, g.Routes[0].Pool)
			if len(f.Codes) > 0 {
				scope := "only the balancer's own; a backend's status is passed through"
				if f.InterceptsBackend {
					scope = "the balancer's own or a backend's"
				}
				text = fmt.Sprintf("If a request to %s results in %s (%s), %s answers and the client gets %s.",
					g.Paths(), statusRange(f.Codes), scope, f.Target, clientStatusText(f.Code))
			}
			claims = append(claims, check.NewClaim(plan.CheckFallback, g.Subject(), f.Target, f.Pos, text))
		}
		return check.DistinctIDs(claims)
	},
}

// clientStatusText describes the status that the client gets.
func clientStatusText(code int) string {
	switch code {
	case -1:
		return "the original status"
	case 0:
		return "the fallback's status"
	}
	return fmt.Sprint(code)
}

// statusRange prints statuses as a list, more than five of them as a range.
func statusRange(list []int) string {
	if len(list) > 5 {
		return fmt.Sprintf("%d to %d", list[0], list[len(list)-1])
	}
	return units.StatusList(list)
}

func fallbackProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	const maxProbes = 6
	var f model.ErrorPage
	matches := func(r model.Route) bool {
		for _, has := range r.ErrorPages {
			if has.Pos == claim.Pos && claim.Detail == has.Target && r.Pool != "" {
				f = has
				return true
			}
		}
		return false
	}
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		matches(r)
		for _, code := range f.Codes {
			testable := f.InterceptsBackend || code != 504
			if testable && len(probes) < maxProbes {
				probes = append(probes, fallbackProbe(cfg, r, f, code))
			}
		}
	}
	return probes, ""
}

// fallbackProbe returns the probe for one status: a backend causes it, and the fallback must answer, unless only the
// balancer's own status triggers it.
func fallbackProbe(cfg model.Config, r model.Route, f model.ErrorPage, code int) check.Probe {
	spec, label := fmt.Sprintf("status=%d", code), fmt.Sprintf("a backend answers %d", code)
	kind, want := plan.KindProbes, wantFallback(cfg, r, f)
	if code >= 500 {
		kind = plan.KindFailures
	}
	switch {
	case !f.InterceptsBackend && code == 502:
		spec, label, kind = "cut", "a backend closes the connection", plan.KindNoResponse
	case !f.InterceptsBackend:
		want = check.Want{Codes: []int{code}, Pool: r.Pool}
	}
	pool, _ := cfg.Pool(r.Pool) // without the fallback's servers
	var hosts []string
	for _, s := range pool.Servers {
		hosts = append(hosts, s.Host)
	}
	request, _ := check.RequestWithSpec(cfg, r, spec+"&by="+strings.Join(hosts, ","))
	request.Method = "POST" // which is not retried
	return check.Probe{Case: label, Kind: kind, Request: request, Want: want}
}

// wantFallback returns the response that a client must get from a fallback.
func wantFallback(cfg model.Config, from model.Route, f model.ErrorPage) (want check.Want) {
	if f.Code > 0 {
		want.Codes = []int{f.Code}
	}
	for _, r := range cfg.Routes {
		if r.Path != f.Target || len(r.Hosts) > 0 && !slices.Equal(r.Hosts, from.Hosts) {
			continue
		}
		switch {
		case r.Pool != "":
			want.Pool = r.Pool
		case r.StaticResponse != nil && f.Code == 0:
			want.Codes = []int{r.StaticResponse.Code}
		}
	}
	return want
}
