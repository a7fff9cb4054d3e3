// Package checks decides promises. Each check says which claims it makes of a configuration, which requests it needs
// beyond the scenario's own, and how a history judges a claim. Everything here is a pure function of its arguments.
//
// To add a check: its name in internal/plan/check.go, one file in a family, one line in All, and in fixtures what an honest balancer
// answers, or two mutants.
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

// All is every check, in the order of reports.
var All = []check.Check{
	distribution.Weights,   // a pool's servers share its requests by their weights
	distribution.Algorithm, // how a pool chooses where it is not by turns
	failover.Backup,        // backups wait for the others to fail
	distribution.Drained,   // servers out of rotation get nothing
	limits.Conns,           // requests in flight per server
	distribution.Split,     // canaries: shares of the traffic to different pools
	distribution.Sticky,    // a client stays with its server
	failover.Passive,       // failed requests take a server out
	failover.Active,        // health checks take a server out
	failover.Retries,       // what is sent again
	requests.Fallback,      // who answers instead
	failover.Breaker,       // everything is refused after too many failures
	limits.Limits,          // rates and numbers at a time
	requests.Routes,        // which request goes where
	requests.Rules,         // what a condition refuses, redirects or rewrites
	requests.Redirects,     // what is sent elsewhere
	requests.Access,        // who is let in, by address
	requests.Auth,          // who is let in, by another service or a password
	traffic.Answered,       // no request is lost or failed
	traffic.Once,           // no request is delivered twice
	requests.Headers,       // the request headers that the configuration sets reach the backend
	requests.Response,      // the response headers that it adds reach the client
	requests.Endpoint,      // what the balancer answers by itself
	requests.AdminPages,    // the balancer's own pages
	traffic.Counters,       // what those count
	traffic.AccessLog,      // what is written of requests
	requests.TLS,           // versions, ciphers, certificates
	requests.Timeouts,      // how long the balancer waits
	requests.Framing,       // where a request ends
	requests.Body,          // how large requests may be
	requests.Compression,   // what is made smaller
	requests.WebSocket,     // tunnels
	distribution.Mirror,    // copies of requests
	traffic.Keepalive,      // connections to backends
	failover.Resolve,       // when names are looked up
	failover.Reload,        // a changed file loses no request
	traffic.Restarts,       // no container restarts or runs out of memory
	traffic.RuleQueries,    // what rules of Prometheus ask for
	traffic.Expectations,   // what the scenario expects of its phases
}

// Names are those of all checks.
func Names() []string {
	var names []string
	for _, c := range All {
		names = append(names, string(c.Name))
	}
	return names
}

// Find gives the check of that name.
func Find(name plan.Check) (check.Check, error) {
	for _, c := range All {
		if c.Name == name {
			return c, nil
		}
	}
	return check.Check{}, fmt.Errorf("no check is called %q", name)
}

// Claims lists every promise that the configuration makes.
func Claims(cfg model.Config) []plan.Claim {
	var claims []plan.Claim
	for _, c := range All {
		claims = append(claims, c.Claims(cfg)...)
	}
	return claims
}

// Observed lists the request headers that backends must keep for the claims of a configuration to be judged.
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
