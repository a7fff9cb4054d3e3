package traffic

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
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
	Doc:  "Connections to backends are reused, or not, as configured.",
	Law: "connections are counted at the backends during sequential requests: without keep-alive, a second request on " +
		"one refutes; with keep-alive, fewer than two requests per connection, more than the limit, or early " +
		"replacement refute",
	Requirements: keepaliveRequirements,
	Judge:        judgeKeepalive,
	Claims:       keepaliveClaims,
}

func keepaliveClaims(cfg model.Config) []plan.Claim {
	return check.EachPool(cfg, func(p model.Pool) []plan.Claim {
		k := p.Keepalive
		if k == nil || k.Disabled && hasOnlyTunnels(cfg, p) {
			return nil
		}
		return []plan.Claim{{
			ID: check.ClaimID(plan.CheckKeepalive, p.Name, ""), Check: plan.CheckKeepalive, Subject: p.Name,
			Pos: k.Pos, Implicit: k.Implicit,
			Text: keepaliveText(p.Name, *k),
			Params: plan.Params{
				plan.ParamIdleConnections: plan.LimitAmount(int64(k.MaxIdle)),
				plan.ParamRequests:        plan.LimitAmount(int64(k.MaxRequests)),
			},
		}}
	})
}

func keepaliveText(pool string, k model.Keepalive) string {
	switch {
	case k.Disabled:
		return fmt.Sprintf("Upstream connections to %s are not reused.", pool)
	case k.MaxIdle == 0:
		return fmt.Sprintf("Upstream connections to %s are reused.", pool)
	}
	text := fmt.Sprintf("Upstream connections to %s are reused; up to %d idle ones are kept per process", pool, k.MaxIdle)
	if k.MaxRequests > 0 {
		text += fmt.Sprintf(", each for up to %d requests and %s", k.MaxRequests, units.Duration(k.IdleTimeout))
	}
	return text + "."
}

// hasOnlyTunnels reports whether only WebSocket routes lead to a pool; tunnels never share connections.
func hasOnlyTunnels(cfg model.Config, pool model.Pool) bool {
	some := false
	for _, r := range cfg.Routes {
		if r.Pool != pool.Name {
			continue
		}
		request, ok := check.RequestWithSpec(cfg, r, "")
		if !ok || !strings.EqualFold(request.Header["Upgrade"], "websocket") {
			return false
		}
		some = true
	}
	return some
}

// Bounds on the number of requests that count connections.
const (
	minCountedRequests = 300
	maxCountedRequests = 12_000
)

func keepaliveRequirements(cfg model.Config, claim plan.Claim, terms check.DesignParams) []check.Requirement {
	pool, ok := cfg.Pool(claim.Subject)
	if !ok || pool.Keepalive == nil {
		return nil
	}
	states := check.CountInstances(cfg, model.Pool{}, terms.CPUs)
	times := minCountedRequests
	if n := pool.Keepalive.MaxRequests * len(pool.Servers) * states * 3 / 2; n <= maxCountedRequests {
		times = max(times, n)
	}
	for _, r := range check.ProxiedRoutes(cfg) {
		if r.Pool != pool.Name || len(r.Access) > 0 {
			continue
		}
		request, ok := check.RequestWithSpec(cfg, r, "")
		if !ok {
			continue
		}
		return []check.Requirement{{
			Kind: plan.KindConnections, Phase: plan.Phase{Count: times, Concurrency: 1, Requests: []plan.Request{request}},
			Detects: "broken keep-alive (either direction)",
		}}
	}
	return nil
}

// judgeKeepalive counts the requests on every connection to a pool's servers.
func judgeKeepalive(claim plan.Claim, h history.History) check.Finding {
	pool, ok := h.Plan.Config.Pool(claim.Subject)
	if !ok || pool.Keepalive == nil {
		return check.Finding{Untestable: "the configuration has no pool " + claim.Subject}
	}
	if len(check.Rotation(pool)) == 0 && len(pool.Servers) > 0 {
		return check.Finding{Untestable: outage.NoServerUp}
	}
	c := connectionsOf(h, pool.Name)
	_, most := c.busiest()
	f := check.Finding{
		N: c.requests, Need: minCountedRequests / 2, Inconclusive: check.WhyLedgerIncomplete(h),
		Test:      "requests per connection, counted at the backends",
		Predicted: "fewer connections than half the requests",
		Measured: fmt.Sprintf("%s for %s, at most %d per connection",
			units.Plural(len(c.served), "connection"), units.Plural(c.requests, "request"), most),
		Power: "detects connections that are reused, or not reused, against the configuration",
	}
	if pool.Keepalive.Disabled {
		f.Predicted = "one request per connection"
	}
	if what := c.describeContradiction(*pool.Keepalive, len(pool.Servers),
		h.Env.Workers); what != "" && f.Inconclusive == "" {
		f.CounterExamples = []string{what}
	}
	return f
}

// connections are those to a pool's servers that carried requests of the phase.
type connections struct {
	served           map[string]int // requests on each, by server and connection
	requests         int
	afterOtherPhases bool // a connection may have served more requests than are counted
}

func connectionsOf(h history.History, pool string) connections {
	c, find := connections{served: map[string]int{}}, check.RouteFinder(h)
	for a := range h.Arrivals {
		j := find(a.Seq)
		if j == nil || j.Route.Pool != pool || j.Tunnel {
			continue
		}
		designed := j.Request.Header[history.ResponseSpecHeader] != "" && h.Plan.Phases[j.Phase].Engine != plan.Prober
		recorded, err := url.ParseQuery(a.Header)
		name := recorded.Get(history.PeerField)
		if !designed || err != nil || name == "" {
			continue
		}
		c.requests++
		c.served[a.Server+" "+name]++
		c.afterOtherPhases = c.afterOtherPhases || j.Phase > 0
	}
	return c
}

// busiest returns the connection with the most requests, the first by name among equals.
func (c connections) busiest() (name string, most int) {
	for _, conn := range slices.Sorted(maps.Keys(c.served)) {
		if n := c.served[conn]; n > most {
			name, most = conn, n
		}
	}
	return name, most
}

// describeContradiction explains how the connections contradict the configuration; "" if they do not.
func (c connections) describeContradiction(k model.Keepalive, servers, workers int) string {
	name, most := c.busiest()
	all := len(c.served)
	single := c.requests >= minCountedRequests/2 && 2*all > c.requests // most connections served a single request
	bounded := k.MaxRequests > 0
	kept := bounded && k.MaxIdle >= servers && !c.afterOtherPhases      // each worker can keep one per server
	replaced := all > 3*servers*max(1, workers) && most < k.MaxRequests // before the limit
	switch {
	case k.Disabled && most > 1:
		return fmt.Sprintf("connection %s served %d requests", name, most)
	case k.Disabled:
		return ""
	case single:
		return fmt.Sprintf("%s for %s", units.Plural(all, "connection"), units.Plural(c.requests, "request"))
	case bounded && most > k.MaxRequests:
		return fmt.Sprintf("connection %s served %d requests, more than the limit of %d", name, most, k.MaxRequests)
	case kept && replaced:
		return fmt.Sprintf("connections were replaced after at most %d requests, before the limit of %d", most, k.MaxRequests)
	}
	return ""
}
