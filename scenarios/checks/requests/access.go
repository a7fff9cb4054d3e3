package requests

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var Access = check.Check{
	Name:   plan.CheckAccess,
	Doc:    "Clients are allowed or denied by address.",
	Law:    "one request wrongly allowed or denied refutes; requests come from both sides of each rule",
	Probes: accessProbes,
	Claims: func(cfg model.Config) []plan.Claim {
		addressed := check.EachRoute(cfg.Routes, addressClaims)
		return check.DistinctIDs(append(addressed, check.EachRoute(cfg.Routes, internalClaims)...))
	},
}

func addressClaims(r model.Route) []plan.Claim {
	if len(r.Access) == 0 || r.StaticResponse != nil {
		return nil
	}
	text := fmt.Sprintf("%s allows clients by the first matching rule (%s); denied clients get 403.",
		r.Key(), accessText(r.Access))
	if r.Internal {
		text = fmt.Sprintf("%s is not reachable by clients.", r.Key())
	}
	return []plan.Claim{check.NewClaim(plan.CheckAccess, r.Key(), "", r.Access[0].Pos, text)}
}

func accessText(rules []model.Access) string {
	var order []string
	for _, a := range rules {
		word := "deny"
		if a.Allow {
			word = "allow"
		}
		order = append(order, word+" "+a.Clients)
	}
	return strings.Join(order, ", ")
}

func internalClaims(r model.Route) []plan.Claim {
	if !r.Internal || r.Named {
		return nil
	}
	text := fmt.Sprintf("%s is internal: requests from clients get 404.", r.Key())
	return []plan.Claim{check.NewClaim(plan.CheckAccess, r.Key(), "internal", r.Pos, text)}
}

func accessProbes(cfg model.Config, claim plan.Claim) (probes []check.Probe, untestable string) {
	for _, r := range cfg.Routes {
		host, ok := r.ProbeHost()
		if r.Internal {
			host, ok = strings.Join(r.Hosts[:min(1, len(r.Hosts))], ""), !r.Regex
		}
		if r.Key() != claim.Subject || !ok {
			continue
		}
		request := plan.Request{Method: "GET", Port: r.Port, TLS: r.TLS, Path: r.Path, Header: check.RespondWith("")}
		if host != "" {
			request.Header["Host"] = host
		}
		if r.Internal {
			want := check.Want{Codes: []int{404}, NotForwarded: true}
			return []check.Probe{{Case: "from outside", Kind: plan.KindProbes, Request: request, Want: want}}, ""
		}
		return addressProbes(r, request), ""
	}
	return nil, ""
}

// addressProbes sends a request from every relevant address: the worker's (also with forged client addresses in its
// header), the balancer's own host, and one address of each network in the rules.
func addressProbes(r model.Route, request plan.Request) (probes []check.Probe) {
	add := func(label, from string, q plan.Request) {
		q.LocalEndpoint = from
		want := check.Want{NotCode: 403, Access: r.Access, ClientAddress: from}
		probes = append(probes, check.Probe{Case: label, Kind: plan.KindProbes, Request: q, Want: want})
	}
	add("from the worker's address", "", request)
	add("with forged addresses in its headers", "", withForgedHeaders(request))
	add("from the balancer's own host", "127.0.0.1", request)
	for _, a := range r.Access {
		network, err := netip.ParsePrefix(a.Clients)
		if addr, single := netip.ParseAddr(a.Clients); single == nil && err != nil && addr.Is4() {
			network, err = addr.Prefix(32)
		}
		if err == nil && network.Addr().Is4() && !network.Addr().IsLoopback() {
			last := check.LastAddress(network).String()
			add("from "+last, last, request)
		}
	}
	return probes
}

// withForgedHeaders returns the request with header fields that claim another client address.
func withForgedHeaders(request plan.Request) plan.Request {
	host, named := request.Header["Host"]
	request.Header = maps.Clone(request.Header)
	maps.Copy(request.Header, check.ForgedHeaders)
	delete(request.Header, "Host")
	if named {
		request.Header["Host"] = host
	}
	return request
}
