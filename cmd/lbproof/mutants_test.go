//go:build mutants

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/target"
)

// TestRealMutantsOfLaws runs real balancers with one line changed and judges them by the promises of the original file:
// make mutants.
func TestRealMutantsOfLaws(t *testing.T) {
	f := func(config, refutes, old, replacement string) {
		t.Helper()
		t.Run(config+": "+replacement, func(t *testing.T) {
			check, _, _ := strings.Cut(refutes, "/")
			plan, err := target.Reader{Balancers: 1, Checks: []string{check}}.Plan("builtin:" + config)
			require.NoError(t, err)
			replace(old, replacement)(&plan)
			text, err := json.Marshal(plan)
			require.NoError(t, err)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.json"), text, 0o600))
			p := start(t, dir, "test", "plan.json")
			require.Equal(t, 1, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
			_, r := reportOf(t, dir)
			var refuted []string
			for _, v := range r.Verdicts {
				if v.Outcome == report.Refuted {
					refuted = append(refuted, v.Claim.ID)
					t.Logf("%s: %s", v.Claim.ID, v.Reason)
				}
			}
			assert.Equal(t, []string{refutes}, refuted)
		})
	}
	f("nginx/limits", "limits/#pages", "burst=20 nodelay", "burst=28 nodelay")
	f("nginx/limits", "limits/#pages", "zone=pages:1m rate=10r/s", "zone=pages:1m rate=14r/s")
	f("nginx/limits", "limits/#pages", "$binary_remote_addr zone=pages", "$http_x_forwarded_for zone=pages")
	f("nginx/limits", "limits/api#tokens", "zone=tokens burst=30 nodelay", "zone=tokens burst=30")
	f("nginx/limits", "limits/patient#patient", "burst=12 delay=4", "burst=12 nodelay")
	f("nginx/limits", "limits/patient#patient", "$binary_remote_addr zone=patient", "$server_name zone=patient")
	f("nginx/limits", "limits/files#downloads", "limit_conn downloads 4", "limit_conn downloads 5")
	f("haproxy/limits", "limits/#http_req_rate", "gt 40", "gt 52")
	f("haproxy/limits", "limits/#http_req_rate", "http_req_rate(4s)", "http_req_rate(3s)")
	f("traefik/limits", "limits/#token bucket", "burst: 10", "burst: 14")
	f("traefik/limits", "limits/#token bucket", "average: 20", "average: 26")
	f("nginx/algorithms", "algorithm/by-chance", "chance-3:8000 weight=3", "chance-3:8000 weight=2")
	f("nginx/algorithms", "algorithm/by-two", "random two least_conn;", "random;")
	f("nginx/algorithms", "algorithm/by-fewest", "least_conn;\n        zone by-fewest", "zone by-fewest")
	f("nginx/algorithms", "algorithm/by-key", "hash $http_x_user;", "hash $http_x_user consistent;")
	f("nginx/algorithms", "algorithm/by-ring", "hash $arg_page consistent;", "hash $arg_page;")
	f("nginx/algorithms", "split/$side", "90% main;", "86% main;")
	f("haproxy/algorithms", "algorithm/by_fewest", "balance leastconn", "balance roundrobin")
	f("haproxy/algorithms", "algorithm/by_ring", "hash-type consistent", "hash-type map-based")
	f("haproxy/algorithms", "algorithm/by_source", "source-3:8000 weight 30", "source-3:8000 weight 20")
	f("traefik/algorithms", "split/sides", "weight: 9", "weight: 8")
	f("traefik/algorithms", "limits/files#in flight", "amount: 4", "amount: 5")
	f("traefik/algorithms", "algorithm/by-two", "strategy: p2c", "strategy: wrr")
}
