// Package checks decides claims. Each check lists the claims of a configuration and the traffic that they need, and
// judges a claim from a history. Everything here is a pure function of its arguments.
//
// To add a check: its name in internal/plan/check.go, one file in a family, one line in All, and in fixtures either the
// answers of an honest balancer or two mutants.
package checks

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
	"github.com/lbproof/lbproof/scenarios/checks/distribution"
	"github.com/lbproof/lbproof/scenarios/checks/failover"
	"github.com/lbproof/lbproof/scenarios/checks/limits"
	"github.com/lbproof/lbproof/scenarios/checks/requests"
	"github.com/lbproof/lbproof/scenarios/checks/traffic"
)

// All lists every check, in report order.
var All = []check.Check{
	distribution.Weights,   // weighted round robin
	distribution.Algorithm, // every other balancing algorithm
	failover.Backup,        // backups are idle until the other servers fail
	distribution.Drained,   // servers out of rotation receive nothing
	limits.Conns,           // requests in flight per server
	distribution.Split,     // traffic split between pools (canary)
	distribution.Sticky,    // session affinity
	failover.Passive,       // failed requests eject a server
	failover.Active,        // health checks eject a server
	failover.Retries,       // which requests are retried
	requests.Fallback,      // fallback responses
	failover.Breaker,       // circuit breaking
	limits.Limits,          // rate and concurrency limits
	requests.Routes,        // routing
	requests.Rules,         // conditional refusals, redirects and rewrites
	requests.Redirects,     // redirects
	requests.Access,        // access by client address
	requests.Auth,          // access by external service or password
	traffic.Answered,       // no request is lost or fails
	traffic.Once,           // no request is delivered twice
	requests.Headers,       // request headers set by the configuration
	requests.Response,      // response headers added by the configuration
	requests.Endpoint,      // static responses
	requests.AdminPages,    // status, statistics and metrics pages
	traffic.Counters,       // the balancer's counters
	traffic.AccessLog,      // access logs
	requests.TLS,           // versions, ciphers, certificates
	requests.Timeouts,      // timeouts of every kind
	requests.Framing,       // request smuggling
	requests.Body,          // body size limits
	requests.Compression,   // response compression
	requests.WebSocket,     // WebSocket tunnels
	distribution.Mirror,    // traffic mirroring
	traffic.Keepalive,      // connection reuse to backends
	failover.Resolve,       // DNS resolution of servers
	failover.Reload,        // a reload loses no request
	traffic.Restarts,       // no container restarts or runs out of memory
	traffic.RuleQueries,    // Prometheus rules
	traffic.Expectations,   // expectations of the scenario
}

// Names returns the names of all checks.
func Names() []string {
	var names []string
	for _, c := range All {
		names = append(names, string(c.Name))
	}
	return names
}

// Find returns the check with the given name.
func Find(name plan.Check) (check.Check, error) {
	for _, c := range All {
		if c.Name == name {
			return c, nil
		}
	}
	return check.Check{}, fmt.Errorf("unknown check %q", name)
}

// Claims lists every claim of the configuration.
func Claims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, c := range All {
		claims = append(claims, c.Claims(cfg)...)
	}
	return claims
}

// Observed lists the request headers that backends must record so that the claims of cfg can be judged.
func Observed(cfg model.Config) (names []string) {
	for _, c := range All {
		if c.ObservedHeaders != nil {
			names = append(names, c.ObservedHeaders(cfg)...)
		}
	}
	return names
}

// ExtraRequests lists the requests that the claims need beyond a scenario's own, each once.
func ExtraRequests(cfg model.Config, claims []plan.Claim) []plan.Request {
	var probes []plan.Request
	seen := map[string]bool{}
	for _, claim := range claims {
		check, err := Find(claim.Check)
		if err != nil || check.ExtraRequests == nil {
			continue
		}
		for _, r := range check.ExtraRequests(cfg, claim) {
			if key := fmt.Sprint(r); !seen[key] {
				seen[key] = true
				r.Claim = claim.ID
				probes = append(probes, r)
			}
		}
	}
	return probes
}
