package requests

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Routes = check.Check{
	Name:   plan.CheckRoutes,
	Doc:    "A request is routed by host, path and headers, even if several routes match.",
	Law:    "one request taken by another route refutes; probes lie on both sides of every boundary between two routes",
	Probes: routeProbes,
	Claims: routeClaims,
}

func routeClaims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	if len(check.ProxiedRoutes(cfg)) < 2 {
		return nil // with a single destination, the other checks cover it
	}
	var first []model.Route // routes that may take requests from others
	for _, r := range cfg.Routes {
		if r.Pool != "" && !r.Internal && (r.Regex || r.Priority > 0) {
			first = append(first, r)
		}
	}
	for _, r := range cfg.Routes {
		if r.Pool == "" || r.Internal {
			continue
		}
		text := fmt.Sprintf("Requests to %s go to %s%s.", r.Key(), r.Pool, precedenceText(first, r))
		claims = append(claims, check.NewClaim(plan.CheckRoutes, r.Key(), "", r.PoolPos, text))
	}
	return check.DistinctIDs(claims)
}

// maxCompared bounds how many other routes each route is compared with.
const maxCompared = 500

// precedenceText names a route that takes requests which this one would otherwise get.
func precedenceText(first []model.Route, r model.Route) string {
	for _, o := range first[:min(maxCompared, len(first))] {
		switch {
		case o.Pool == r.Pool || o.Port != r.Port || !mayOverlap(o, r):
		case r.Priority > 0 && o.Priority > r.Priority:
			return fmt.Sprintf(", unless %s matches first", o.Key())
		case r.Priority == 0 && o.Regex && !r.Exact && !r.Regex && !r.BeatsRegex:
			return fmt.Sprintf(", unless the regular expression %s matches", o.Path)
		}
	}
	return ""
}

// mayOverlap reports whether one request may match both routes.
func mayOverlap(o, r model.Route) bool {
	shared := slices.ContainsFunc(o.Hosts, func(h string) bool { return slices.Contains(r.Hosts, h) })
	if anyHost := len(o.Hosts) == 0 || len(r.Hosts) == 0; !shared && !anyHost {
		return false
	}
	nested := strings.HasPrefix(o.Path, r.Path) || strings.HasPrefix(r.Path, o.Path)
	return nested || o.Regex || r.Regex
}

func routeProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	var r model.Route
	for _, candidate := range cfg.Routes {
		if candidate.Key() == claim.Subject && candidate.PoolPos == claim.Pos {
			r = candidate
		}
	}
	inside, ok := check.RequestWithSpec(cfg, r, "")
	if !ok {
		return nil, ""
	}
	want := check.Want{Pool: r.Pool, Codes: []int{200, 101}}
	probes = append(probes, check.Probe{Case: "within the route", Kind: plan.KindProbes, Request: inside, Want: want})
	add := func(label, path, host string) {
		request := inside
		request.Path, request.Header = path, maps.Clone(inside.Header)
		if host != "" {
			request.Header["Host"] = host
		}
		if want, known := wantByRoute(cfg, request); known && path != "" {
			probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
		}
	}
	if len(r.Conditions) > 0 {
		return append(probes, violatingProbes(cfg, r, inside)...), ""
	}
	if !r.Regex {
		add("below the path", inside.Path+"lbproof", "")
	}
	if trimmed := strings.TrimSuffix(inside.Path, "/"); len(trimmed) > 1 {
		add("one letter shorter", trimmed[:len(trimmed)-1], "")
		add("in upper case", strings.ToUpper(inside.Path), "")
		add("under another path", "/lbproof"+inside.Path, "")
	}
	if len(r.Hosts) > 0 {
		add("for another host", inside.Path, "lbproof.invalid")
	}
	return probes, ""
}

// violatingProbes returns a request that violates the first condition of a route, if its destination is predictable.
func violatingProbes(cfg model.Config, r model.Route, inside plan.Request) []check.Probe {
	outside := inside
	outside.Header = maps.Clone(inside.Header)
	if !check.Violate(r.Conditions[:1], &outside) {
		return nil
	}
	want, known := wantByRoute(cfg, outside)
	if !known {
		return nil
	}
	label := r.Conditions[0].Source + " does not hold"
	return []check.Probe{{Case: label, Kind: plan.KindProbes, Request: outside, Want: want}}
}

// mayRefuse reports whether something other than routing decides about a request.
func mayRefuse(r model.Route, request plan.Request) bool {
	unknownClient := len(r.Access) > 0 && request.LocalEndpoint == ""
	return unknownClient || r.Auth != nil || len(r.Rules) > 0
}

// wantByRoute returns the expected response according to the route that takes a request; known is false if that is
// not predictable.
func wantByRoute(cfg model.Config, request plan.Request) (want check.Want, known bool) {
	unread := func(c model.Condition) bool { return !c.IsReadable() }
	mayTake := func(o model.Route) bool { return o.Port == request.Port && slices.ContainsFunc(o.Conditions, unread) }
	if slices.ContainsFunc(cfg.Routes, mayTake) {
		return want, false
	}
	r, found := cfg.Route(request.Port, request.Header["Host"], request.Path)
	switch {
	case !found:
		return check.Want{Codes: []int{400, 404, 421, 503}, NotForwarded: true}, true
	case mayRefuse(r, request):
		return want, false
	case r.Pool != "":
		return check.Want{Pool: r.Pool}, true
	case r.StaticResponse != nil:
		return check.Want{Codes: []int{r.StaticResponse.Code}, NotForwarded: true}, true
	case r.Redirect != nil:
		return check.Want{Codes: []int{r.Redirect.Code}, NotForwarded: true}, true
	}
	return check.Want{NotForwarded: true}, true
}
