package requests

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Response = check.Check{
	Name: plan.CheckResponse,
	Doc:  "Responses carry each configured header exactly once, on the configured routes and statuses.",
	Law: "one response without the header refutes; tested per route and status class (2xx, 3xx, 4xx, 5xx; from " +
		"backends and from the balancer itself)",
	Probes:     responseProbes,
	SharedKind: plan.KindTimeouts,
	Claims:     responseClaims,
}

func responseClaims(cfg model.Config) []plan.Claim {
	groups := check.GroupRoutes(cfg, func(r model.Route) []model.Header { return r.AddHeaders },
		func(h model.Header) string { return fmt.Sprint(h) })
	var claims []plan.Claim
	for _, g := range groups {
		h := g.What
		scope := ""
		switch {
		case h.ProxiedOnly:
			scope = " if they come from a backend, not if the balancer generates them"
		case h.Statuses != nil:
			scope = " if their status is " + units.StatusList(h.Statuses) + "; not on 4xx/5xx (no \"always\")"
		}
		text := fmt.Sprintf("Responses from %s carry %s: %s%s.", g.Paths(), h.Name, h.Value, scope)
		claims = append(claims, check.NewClaim(plan.CheckResponse, g.Subject(), h.Name, h.Pos, text))
	}
	return check.DistinctIDs(claims)
}

func responseProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	name := claim.Detail
	matches := func(r model.Route) bool {
		return slices.ContainsFunc(r.AddHeaders, func(h model.Header) bool { return h.Pos == claim.Pos && h.Name == name })
	}
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		add := func(label string, kind plan.PhaseKind, method, spec string, code int, own bool, edit func(*plan.Request)) {
			request, _ := check.RequestWithSpec(cfg, r, spec)
			request.Method = method
			if edit != nil {
				edit(&request)
			}
			want := wantHeader(r, request, name, code, own)
			if kind == plan.KindNoResponse {
				want.OnlyIfCodes = append(want.OnlyIfCodes, 503) // HAProxy, after several attempts
			}
			probes = append(probes, check.Probe{Case: label, Kind: kind, Request: request, Want: want})
		}
		if r.StaticResponse != nil {
			code := r.StaticResponse.Code
			add(fmt.Sprintf("the balancer's own %d", code), plan.KindProbes, "GET", "", code, true, nil)
		}
		if r.LocalContent != nil {
			add("an admin page of the balancer", plan.KindProbes, "GET", "", 200, true, nil)
		}
		if request, _ := check.RequestWithSpec(cfg, r, ""); r.Pool == "" || request.Header["Upgrade"] != "" {
			continue
		}
		for _, code := range []int{200, 301, 404} {
			add(fmt.Sprintf("a backend's %d", code), plan.KindProbes, "GET", fmt.Sprintf("status=%d", code), code, false, nil)
		}
		if limit := r.MaxBody; limit != nil && limit.Value > 0 && limit.Value < maxBodySent {
			add("the balancer's 413", plan.KindProbes, "POST", "", 413, true,
				func(q *plan.Request) { q.PaddingSize = limit.Value + 1 })
		}
		for _, l := range r.Limits {
			if isExceedable(l) {
				label := fmt.Sprintf("the limit's %d", l.Status)
				add(label, plan.KindRefusals, "GET", "status=200&for=refusals", l.Status, true, nil)
				break
			}
		}
		add("a backend's 500", plan.KindFailures, "POST", "status=500", 500, false, nil)
		add("the balancer's 502", plan.KindNoResponse, "POST", "cut", 502, true, nil)
		if request, ok := gatewayTimeoutRequest(cfg, r); ok {
			want := wantHeader(r, request, name, 504, true)
			timeout := check.Probe{Case: "the balancer's 504", Kind: plan.KindTimeouts, Request: request, Want: want}
			probes = append(probes, timeout)
		}
	}
	return probes, ""
}

// isExceedable reports whether a single client can exceed a limit.
func isExceedable(l model.Limit) bool {
	const most = 200 // requests
	if l.Algorithm == model.InFlight || l.DryRun || !l.Key.IsAddress() {
		return false
	}
	return l.Rate > 0 && l.Rate <= most && check.AdmittedAtOnce(l) <= most
}

// wantHeader returns the expected header fields of a name in a response with a status. own: the balancer generates
// the response itself.
func wantHeader(r model.Route, request plan.Request, name string, code int, own bool) check.Want {
	want := check.Want{OnlyIfCodes: []int{code}, Headers: map[string][]string{}}
	field := textproto.CanonicalMIMEHeaderKey(name)
	var values []string
	for _, h := range r.AddHeaders {
		skip := own && h.ProxiedOnly || h.Statuses != nil && !slices.Contains(h.Statuses, code)
		if skip || !strings.EqualFold(h.Name, name) {
			continue
		}
		text, known := (exchange{route: r, request: request}).expand(h.Value)
		if !known {
			return check.Want{OnlyIfCodes: want.OnlyIfCodes, HeadersPresent: []string{field}}
		}
		values = append(values, text)
	}
	if len(values) == 0 && field == "Content-Type" {
		return want // every response with a body has one
	}
	want.Headers[field] = values
	return want
}
