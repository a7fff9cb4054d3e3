package traffic

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/outage"
)

var Keepalive = check.Check{
	Name: plan.CheckKeepalive,
	Doc:  "Connections to backends are kept and used again, or are not, as configured.",
	Law: "connections counted at the backends against requests sent one after another: where none is kept, a second request on one refutes; " +
		"where they are, fewer than two requests a connection refute, and one that carries more than it may, or is replaced before",
	Trials: keepaliveTrials,
	Judge:  judgeKeepalive,
	Claims: func(cfg model.Config) []plan.Claim {
		return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
			k := p.Keepalive
			if k == nil || k.Never && tunnelled(cfg, p) {
				return nil
			}
			text := fmt.Sprintf("Connections to the servers of %s are used again.", p.Name)
			switch {
			case k.Never:
				text = fmt.Sprintf("Each request of %s has a connection to its server of its own.", p.Name)
			case k.Idle > 0:
				text = fmt.Sprintf("Connections to the servers of %s are used again; %d idle ones are kept per process", p.Name, k.Idle)
				if k.Requests > 0 {
					text += fmt.Sprintf(", each for %d requests and %s", k.Requests, units.Span(k.Within))
				}
				text += "."
			}
			return []plan.Claim{{
				ID: check.ClaimID(plan.CheckKeepalive, p.Name, ""), Check: plan.CheckKeepalive, Subject: p.Name, Pos: k.Pos, Implicit: k.Implicit, Text: text,
				Params: plan.Params{plan.ParamIdle: plan.AtMost(int64(k.Idle)), plan.ParamRequests: plan.AtMost(int64(k.Requests))},
			}}
		})
	},
}

// tunnelled says whether nothing but tunnels leads to a pool, which have connections of their own in any case.
func tunnelled(cfg model.Config, pool model.Pool) bool {
	some := false
	for _, r := range cfg.Routes {
		if r.Pool != pool.Name {
			continue
		}
		request, ok := check.WishingRequest(cfg, r, "")
		if !ok || !strings.EqualFold(request.Header["Upgrade"], "websocket") {
			return false
		}
		some = true
	}
	return some
}

// Bounds on how many requests count connections.
const (
	fewKept  = 300
	mostKept = 12_000
)

func keepaliveTrials(cfg model.Config, claim plan.Claim, terms check.Terms) []check.Trial {
	pool, ok := cfg.Pool(claim.Subject)
	if !ok || pool.Keepalive == nil {
		return nil
	}
	for _, r := range check.ProxiedRoutes(cfg) {
		if r.Pool != pool.Name || len(r.Access) > 0 {
			continue
		}
		request, ok := check.WishingRequest(cfg, r, "")
		if !ok {
			continue
		}
		count := fewKept
		if n := pool.Keepalive.Requests * len(pool.Servers) * check.StatesOf(cfg, model.Pool{}, terms.CPUs) * 3 / 2; n <= mostKept {
			count = max(count, n)
		}
		return []check.Trial{{
			Kind: plan.KindConnections, Load: plan.Phase{Count: count, Concurrency: 1, Requests: []plan.Request{request}},
			Shows: "a connection for each request, where they are kept, and one kept, where they are not",
		}}
	}
	return nil
}

// judgeKeepalive counts the requests of every connection to a pool's servers.
func judgeKeepalive(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Keepalive == nil {
		return check.Finding{Cannot: "the configuration has no pool " + claim.Subject}
	}
	if len(check.Rotation(pool)) == 0 && len(pool.Servers) > 0 {
		return check.Finding{Cannot: outage.NobodyUp}
	}
	k := pool.Keepalive
	f := check.Finding{Need: fewKept / 2, Test: "requests of each connection, counted at the backends", Broken: check.LostWitness(h)}
	find, served, before := check.Journeys(h), map[string]int{}, false
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Route.Pool != pool.Name || j.Tunnel || j.Request.Header[history.WishHeader] == "" || h.Plan.Phases[j.Load].Engine == plan.Prober {
			continue
		}
		noted, err := url.ParseQuery(a.Header)
		if conn := noted.Get(history.NotedConn); err == nil && conn != "" {
			before = before || j.Load > 0
			f.N++
			served[a.Server+" "+conn]++
		}
	}
	most, name := 0, ""
	for conn, n := range served {
		if n > most || n == most && conn < name {
			most, name = n, conn
		}
	}
	f.Measured = fmt.Sprintf("%s for %s, at most %d on one", units.Plural(len(served), "connection"), units.Plural(f.N, "request"), most)
	f.Predicted = "fewer connections than half the requests"
	switch each := len(pool.Servers) * max(1, h.Env.Workers); {
	case k.Never:
		f.Predicted = "one request each"
		if most > 1 {
			f.Counter = []string{fmt.Sprintf("%s served %d requests", name, most)}
		}
	case f.N > 0 && 2*len(served) > f.N && f.N >= f.Need:
		f.Counter = []string{fmt.Sprintf("%s for %s", units.Plural(len(served), "connection"), units.Plural(f.N, "request"))}
	case k.Requests > 0 && most > k.Requests:
		f.Counter = []string{fmt.Sprintf("%s served %d requests, more than %d", name, most, k.Requests)}
	case !before && k.Requests > 0 && k.Idle >= len(pool.Servers) && len(served) > 3*each && most < k.Requests:
		f.Counter = []string{fmt.Sprintf("connections were replaced after %d requests at most, before they had served %d", most, k.Requests)}
	}
	if f.Broken != "" {
		f.Counter = nil
	}
	f.Power = "would have caught a balancer that keeps connections, or none, against what is configured"
	return f
}
