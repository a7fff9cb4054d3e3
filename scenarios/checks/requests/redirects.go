package requests

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Redirects = check.Check{
	Name:   plan.CheckRedirects,
	Doc:    "Requests are redirected with the configured status and Location; no backend sees them.",
	Law:    "one different response refutes; tested with GET and POST",
	Probes: redirectProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		return check.DistinctIDs(check.EachRoute(cfg.Routes, redirectClaims))
	},
}

func redirectClaims(r model.Route) []plan.Claim {
	if r.Redirect == nil || r.Internal {
		return nil
	}
	text := fmt.Sprintf("Requests to %s are redirected with %d to %s; no backend sees them.",
		r.Key(), r.Redirect.Code, r.Redirect.To)
	switch repeating := redirectCode(*r.Redirect, "POST"); {
	case repeating != r.Redirect.Code:
		text += fmt.Sprintf(" Methods other than GET get %d and are preserved.", repeating)
	case repeating == 301 || repeating == 302:
		text += " Clients may change POST to GET."
	}
	claim := check.NewClaim(plan.CheckRedirects, r.Key(), "", r.Redirect.Pos, text)
	claim.Params = plan.Params{plan.ParamCode: plan.Amount(r.Redirect.Code)}
	return []plan.Claim{claim}
}

func redirectProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	r, ok := check.RouteOf(cfg, claim)
	host, askable := r.ProbeHost()
	if !ok || !askable {
		return nil, ""
	}
	add := func(label, method, host string) {
		request := plan.Request{
			Method: method, Port: r.Port, TLS: r.TLS, Path: r.Path + "lbproof?a=1&b=2",
			Header: check.RespondWith(""),
		}
		if r.Exact {
			request.Path = r.Path + "?a=1&b=2"
		}
		request.Header["Host"] = host
		want := check.Want{
			Codes: []int{redirectCode(*r.Redirect, method)}, NotForwarded: true,
			HeadersPresent: []string{"Location"},
		}
		if to, known := (exchange{route: r, request: request}).expand(r.Redirect.To); known {
			want.Headers, want.HeadersPresent = map[string][]string{"Location": {to}}, nil
		}
		probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: request, Want: want})
	}
	if host == "" {
		host = plan.CertificateHost
	}
	add("path and query are kept", "GET", host)
	add("a POST", "POST", host)
	if len(r.Hosts) == 0 || r.DefaultHost {
		add("an unknown host", "GET", "evil.example")
	}
	return probes, ""
}

// redirectCode returns the status that redirects requests of a method.
func redirectCode(to model.Redirect, method string) int {
	if method != "GET" && to.NonGetCode != 0 {
		return to.NonGetCode
	}
	return to.Code
}
