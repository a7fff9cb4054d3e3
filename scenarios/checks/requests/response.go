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
	matches := func(r model.Route) bool {
		return slices.ContainsFunc(r.AddHeaders, func(h model.Header) bool {
			return h.Pos == claim.Pos && h.Name == claim.Detail
		})
	}
	for _, r := range check.CandidateRoutes(cfg, claim, matches) {
		cases := headerCases{cfg: cfg, route: r, name: claim.Detail}
		cases.addLocal()
		if request, _ := check.RequestWithSpec(cfg, r, ""); r.Pool != "" && request.Header["Upgrade"] == "" {
			cases.addBackend()
			cases.addRefusals()
			cases.addFailures()
		}
		probes = append(probes, cases.probes...)
	}
	return probes, ""
}

// headerCases collects the probes for one added header field of a route.
type headerCases struct {
	cfg    model.Config
	route  model.Route
	name   string
	probes []check.Probe
}

// add adds a probe of responses with a status. own: the balancer generates them itself.
func (c *headerCases) add(label string, kind plan.PhaseKind, request plan.Request, code int, own bool) {
	want := wantHeader(c.route, request, c.name, code, own)
	if kind == plan.KindNoResponse {
		want.OnlyIfCodes = append(want.OnlyIfCodes, 503) // HAProxy, after several attempts
	}
	c.probes = append(c.probes, check.Probe{Case: label, Kind: kind, Request: request, Want: want})
}

// request returns a request that takes the route, and that a backend answers as specified.
func (c *headerCases) request(method, spec string) plan.Request {
	request, _ := check.RequestWithSpec(c.cfg, c.route, spec)
	request.Method = method
	return request
}

// addLocal adds the responses that the balancer generates for all requests to the route.
func (c *headerCases) addLocal() {
	if c.route.StaticResponse != nil {
		code := c.route.StaticResponse.Code
		c.add(fmt.Sprintf("the balancer's own %d", code), plan.KindProbes, c.request("GET", ""), code, true)
	}
	if c.route.LocalContent != nil {
		c.add("an admin page of the balancer", plan.KindProbes, c.request("GET", ""), 200, true)
	}
}

// addBackend adds responses of backends.
func (c *headerCases) addBackend() {
	for _, code := range []int{200, 301, 404} {
		request := c.request("GET", fmt.Sprintf("status=%d", code))
		c.add(fmt.Sprintf("a backend's %d", code), plan.KindProbes, request, code, false)
	}
}

// addRefusals adds refusals by the limits of the route.
func (c *headerCases) addRefusals() {
	if limit := c.route.MaxBody; limit != nil && limit.Value > 0 && limit.Value < maxBodySent {
		request := c.request("POST", "")
		request.PaddingSize = limit.Value + 1
		c.add("the balancer's 413", plan.KindProbes, request, 413, true)
	}
	if i := slices.IndexFunc(c.route.Limits, isExceedable); i >= 0 {
		code := c.route.Limits[i].Status
		request := c.request("GET", "status=200&for=refusals")
		c.add(fmt.Sprintf("the limit's %d", code), plan.KindRefusals, request, code, true)
	}
}

// addFailures adds the responses to failures of a backend, among them the balancer's own.
func (c *headerCases) addFailures() {
	c.add("a backend's 500", plan.KindFailures, c.request("POST", "status=500"), 500, false)
	c.add("the balancer's 502", plan.KindNoResponse, c.request("POST", "cut"), 502, true)
	if request, ok := gatewayTimeoutRequest(c.cfg, c.route); ok {
		c.add("the balancer's 504", plan.KindTimeouts, request, 504, true)
	}
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
