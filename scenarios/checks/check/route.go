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

// findRoute is the route that a request takes: handshakes may have one of their own.
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

// ProxiedRoutes lists the routes that lead to a pool and that a plain request can be made for.
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

// CandidateRoutes are routes that single requests can be made for: the claim's subject, then others that share its
// promise.
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
	return append(out, tunnels...) // which are of use to few
}

func RouteOf(cfg model.Config, claim plan.Claim) (model.Route, bool) {
	for _, r := range cfg.Routes {
		if r.Key() == claim.Subject {
			return r, true
		}
	}
	return model.Route{}, false
}

// HostOf is the host that a request asks for: the one that it names, else the balancer's kind.
func HostOf(h history.History, r plan.Request) string {
	return cmp.Or(r.Header["Host"], fmt.Sprintf("%s:%d", h.Plan.Config.Balancer, r.Port))
}

// WhyUnreachable says that no route that lbproof can read leads to a pool, and so no request on purpose; empty where
// one does.
func WhyUnreachable(cfg model.Config, pool string) string {
	named := func(s model.Share) bool { return s.Pool == pool }
	leads := func(r model.Route) bool { return r.Pool == pool || slices.ContainsFunc(r.Mirrors, named) }
	shares := func(s model.Split) bool { return slices.ContainsFunc(s.Shares, named) }
	if slices.ContainsFunc(cfg.Routes, leads) || slices.ContainsFunc(cfg.Splits, shares) {
		return ""
	}
	return "no route that lbproof can read leads to it"
}
