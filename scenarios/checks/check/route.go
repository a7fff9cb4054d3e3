package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// findRoute returns the route of a request; WebSocket handshakes may have their own.
func findRoute(cfg model.Config, r plan.Request, host string) model.Route {
	path, _, _ := strings.Cut(r.Path, "?")
	plain, _ := cfg.Route(r.Port, host, path)
	if r.Header["Upgrade"] == "" {
		return plain
	}
	for _, o := range cfg.Routes {
		others := func(c model.Condition) bool { return !requiresUpgrade(c, r.Header["Upgrade"]) }
		named := len(o.Hosts) == 0 || slices.Contains(o.Hosts, host)
		here := named && o.Port == r.Port && strings.HasPrefix(path, o.Path)
		if here && len(o.Conditions) > 0 && !slices.ContainsFunc(o.Conditions, others) {
			return o
		}
	}
	return plain
}

// ProxiedRoutes returns the routes to a pool that lbproof can build a simple request for.
func ProxiedRoutes(cfg model.Config) []model.Route {
	var routes []model.Route
	for _, r := range cfg.Routes {
		literal := r
		literal.Regex = false
		host, ok := literal.ProbeHost()
		if ok && r.Regex {
			taken, found := cfg.Route(r.Port, host, examplePath(r))
			ok = found && taken.Key() == r.Key()
		}
		if ok && r.Pool != "" && r.Redirect == nil {
			routes = append(routes, r)
		}
	}
	return routes
}

// CandidateRoutes returns routes that lbproof can build requests for: the subject of the claim first, then others that
// share its setting.
func CandidateRoutes(cfg model.Config, claim plan.Claim, shares func(model.Route) bool) []model.Route {
	const most = 2
	var out, tunnels []model.Route
	add := func(r model.Route) {
		switch request, ok := RequestWithSpec(cfg, r, ""); {
		case !ok || len(out) == most:
		case request.Header["Upgrade"] != "":
			tunnels = append(tunnels, r)
		default:
			out = append(out, r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Key() == claim.Subject && shares(r) {
			add(r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Key() != claim.Subject && shares(r) {
			add(r)
		}
	}
	return append(out, tunnels...) // only few checks can use them
}

// RouteOf returns the first route that a claim is about.
func RouteOf(cfg model.Config, claim plan.Claim) (model.Route, bool) {
	for _, r := range cfg.Routes {
		if r.Key() == claim.Subject {
			return r, true
		}
	}
	return model.Route{}, false
}

// HostOf returns the host of a request: its Host header, or else the name of the balancer.
func HostOf(h history.History, r plan.Request) string {
	return cmp.Or(r.Header["Host"], fmt.Sprintf("%s:%d", h.Plan.Config.Balancer, r.Port))
}

// WhyUnreachable explains that no readable route leads to a pool, so that lbproof cannot send requests to it, or
// returns "".
func WhyUnreachable(cfg model.Config, pool string) string {
	named := func(s model.Share) bool { return s.Pool == pool }
	leads := func(r model.Route) bool { return r.Pool == pool || slices.ContainsFunc(r.Mirrors, named) }
	shares := func(s model.Split) bool { return slices.ContainsFunc(s.Shares, named) }
	if slices.ContainsFunc(cfg.Routes, leads) || slices.ContainsFunc(cfg.Splits, shares) {
		return ""
	}
	return "unreachable: no route that lbproof can read leads to it"
}
