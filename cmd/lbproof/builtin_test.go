package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/lbconfigs"
)

// The tests in this file run the real balancer with every built-in configuration. They need Docker; go test -short
// skips them.

// expectation is what a real balancer does with a built-in configuration.
type expectation struct {
	refused   bool
	message   string   // printed by the balancer, about a line that lbproof reports too
	corrected []string // pairs old, new: edits that lbproof advises, after which the balancer accepts the file
	breaks    []string // promises that single requests refute
	proven    bool     // it makes none that they could refute; TestDesignedExperiments runs it
	header    string   // required by a program, which rejects requests without it
	scenario  string   // written for this configuration
	otherLine bool     // the balancer names the end of the block, lbproof its beginning
}

var builtinExpectations = map[string]expectation{
	"nginx/weighted":         {},
	"nginx/many-connections": {},
	"nginx/backup":           {},
	"nginx/impatient":        {},
	"nginx/tls":              {},
	"nginx/algorithms":       {},
	"nginx/hash":             {},
	"nginx/limits":           {},
	"haproxy/algorithms":     {},
	"haproxy/limits":         {proven: true},
	"traefik/algorithms":     {},
	"traefik/limits":         {},
	"nginx/websocket":        {},
	"haproxy/backup":         {},
	"haproxy/impatient":      {},
	"haproxy/queue":          {},
	"haproxy/metrics":        {},
	"nginx/mirror":           {},
	"traefik/mirror":         {},
	"traefik/impatient":      {},
	"haproxy/sticky":         {},
	"haproxy/tls":            {},
	"traefik/sticky":         {},
	"traefik/tls":            {},
	"nginx/order-api":        {breaks: []string{"response/https://api.example.com/health#Content-Type"}},
	"nginx/orchestry": {breaks: []string{
		"response/http://shop.orchestry.local/_health#Content-Type", "response/http://feed.orchestry.local/_health#Content-Type",
		"response/http://cart.orchestry.local/_health#Content-Type", "response/http://search.orchestry.local/_health#Content-Type",
		"response/https://pay.orchestry.local/_health#Content-Type",
	}},
	"nginx/orchestry-rules":      {},
	"nginx/phoenix-status":       {},
	"nginx/sysmanage-health":     {},
	"nginx/sysmanage-lua":        {header: "Cookie: sessionid=proof", scenario: "session-router"},
	"nginx/orchestry-canary":     {refused: true, message: `"split_clients" directive is not allowed here`},
	"nginx/orchestry-empty":      {refused: true, message: "no servers are inside upstream", otherLine: true, breaks: []string{"answered/"}, corrected: []string{"upstream shop_upstream {", "upstream shop_upstream { server 127.0.0.1:1 down;"}},
	"nginx/orchestry-flapping":   {refused: true, message: `balancing method does not support parameter "backup"`, corrected: []string{" backup;", ";"}},
	"nginx/orchestry-least-time": {refused: true, message: `unknown directive "least_time"`, corrected: []string{"least_time header;", "least_conn;"}},
	"nginx/orchestry-regex":      {refused: true, message: `unknown directive "1,2}/"`, corrected: []string{"~ ^/v[0-9]{1,2}/ {", `~ "^/v[0-9]{1,2}/" {`}},
	"nginx/sysmanage": {
		breaks:  []string{"response/http://sysmanage.example.com/health#Content-Type"},
		refused: true, message: `"limit_req_zone" directive is not allowed here`, corrected: []string{
			"limit_req_zone $binary_remote_addr zone=api:10m rate=10r/s;\nlimit_req_zone $binary_remote_addr zone=auth:10m rate=5r/s;\n", "",
			"upstream sysmanage_backend {", "limit_req_zone $binary_remote_addr zone=api:10m rate=10r/s;\nlimit_req_zone $binary_remote_addr zone=auth:10m rate=5r/s;\nupstream sysmanage_backend {",
			"ECDHE-RSA-AES256-GCM-SHA512:DHE-RSA-AES256-GCM-SHA512", "ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384",
		},
	},
	"nginx/phoenix": {
		refused: true, message: `unknown directive "check"`, corrected: []string{
			"check interval=3000 rise=2 fall=5 timeout=1000 type=http;", "", `check_http_send "HEAD /health HTTP/1.0\r\n\r\n";`, "",
			"check_http_expect_alive http_2xx http_3xx;", "", "least_conn;", "", "sticky cookie SERVERID expires=1h domain=.phoenix-orch;", "hash $cookie_SERVERID consistent;",
			"http://master_orchestrator:9000", "http://master_orchestrator",
		},
	},
	"haproxy/weighted": {},
	"haproxy/order-api": {
		refused: true, message: "unable to find required use_backend: 'ws_backend'", corrected: []string{
			"# Backend — order service", "backend ws_backend\n    server ws 10.0.1.20:8080\n\nbackend api_gateway_backend\n    server gateway 10.0.1.21:8080\n",
			"maxconn 100000", "",
		},
	},
	"haproxy/sysmanage": {
		refused: true, message: "error detected while parsing ACL 'is_websocket' : 'websocket' is not a number", corrected: []string{
			"hdr_val(upgrade) -i websocket", "hdr(upgrade) -i websocket",
			"ECDHE-RSA-AES256-GCM-SHA512:DHE-RSA-AES256-GCM-SHA512", "ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384",
		},
	},
	"traefik/weighted":  {},
	"traefik/order-api": {message: "field not found, node: recoverDuration", corrected: []string{"recoverDuration", "recoveryDuration"}},
}

func TestEveryBuiltInHasAnExpectation(t *testing.T) {
	assert.Equal(t, lbconfigs.Names(), slices.Sorted(maps.Keys(builtinExpectations)))
}

// writeConfig writes a built-in configuration with edits into a folder.
func writeConfig(t *testing.T, name string, edits []string) string {
	t.Helper()
	dir := t.TempDir()
	edited := map[string]bool{}
	err := fs.WalkDir(lbconfigs.BuiltIn, name, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(lbconfigs.BuiltIn, file)
		if err != nil {
			return err
		}
		for i := 0; i < len(edits); i += 2 {
			if strings.Contains(string(text), edits[i]) {
				edited[edits[i]] = true
			}
			text = []byte(strings.ReplaceAll(string(text), edits[i], edits[i+1]))
		}
		at := filepath.Join(dir, "config", strings.TrimPrefix(file, name))
		return errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, text, 0o644))
	})
	require.NoError(t, err)
	for i := 0; i < len(edits); i += 2 {
		require.True(t, edited[edits[i]], "%s has no %q", name, edits[i])
	}
	return dir
}

// claimsOf returns the output of lbproof claims for a configuration, and how many of its problems make the balancer
// reject it.
func claimsOf(t *testing.T, dir string, flags ...string) (r report.Reading, rejected int) {
	t.Helper()
	p := start(t, dir, append([]string{"claims", "--json", "--fail-on", "none", "config"}, flags...)...)
	require.Equal(t, 0, p.wait(t), p.stderr.String())
	require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r))
	for _, problem := range r.Problems {
		if problem.Effect == model.Rejected {
			rejected++
		}
	}
	return r, rejected
}

// lbproof reports what the balancer refuses or warns about, at the same line.
func TestBalancersOwnAnswer(t *testing.T) {
	for name, want := range builtinExpectations {
		t.Run(name, func(t *testing.T) {
			if want.message == "" {
				t.Skip("another test shows that the balancer accepts it")
			}
			t.Parallel()
			r, rejected := claimsOf(t, writeConfig(t, name, nil))
			require.NotNil(t, r.Checker, "%v", r.NotAsked)
			assert.Equal(t, !want.refused, r.Checker.Accepted, "%v", r.Checker.Messages)
			assert.Equal(t, !want.refused, r.Checker.Started, "%v", r.Checker.Messages)
			assert.NotEmpty(t, r.Checker.Version)
			assert.Equal(t, want.refused, rejected > 0, "%v", r.Problems)
			found, reported := false, false
			for _, s := range r.Checker.Messages {
				if !strings.Contains(s.Text, want.message) {
					continue
				}
				found = true
				reported = s.Pos.Line == 0 || want.otherLine
				for _, p := range r.Problems {
					reported = reported || p.Pos == s.Pos
				}
			}
			assert.True(t, found, "%v", r.Checker.Messages)
			assert.True(t, reported, "lbproof reports another line: %v", r.Problems)
		})
	}
}

const short = `name: short
doc: a few requests
config: config
checks: [restarts]
phases:
  - {name: few, requests: 30, concurrency: 1, send: [{path: /health}]}
`

// namesAddresses reports whether a configuration names addresses, which concurrent runs cannot share.
func namesAddresses(t *testing.T, name string) bool {
	t.Helper()
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
	require.NoError(t, err)
	return slices.ContainsFunc(cfg.Pools, func(p model.Pool) bool {
		return slices.ContainsFunc(p.Servers, func(s model.Server) bool {
			_, err := netip.ParseAddr(s.Host)
			return err == nil
		})
	})
}

// assertOwnNetwork asserts that an address is in the range that no configuration names.
func assertOwnNetwork(t *testing.T, address string) {
	t.Helper()
	at, err := netip.ParseAddr(address)
	require.NoError(t, err)
	assert.True(t, netip.MustParsePrefix("198.18.0.0/15").Contains(at), address)
}

// probeChecks are the kinds of promises that single requests decide within seconds.
var probeChecks = []string{
	"access", "answered", "auth", "body", "compression", "endpoint", "fallback", "headers", "admin", "redirects",
	"response", "routes", "rules", "tls", "websocket",
}

// Every configuration that its balancer accepts, unchanged or corrected as lbproof advises, starts, and lbproof reports
// no part as rejected. Single requests refute exactly the expected promises.
func TestEveryValidBuiltInAnswers(t *testing.T) {
	var addresses sync.Mutex
	for name, want := range builtinExpectations {
		t.Run(name, func(t *testing.T) {
			if want.proven || want.refused && want.corrected == nil {
				t.Skip("the balancer refuses it, or another test runs it")
			}
			t.Parallel() // it mostly waits for containers
			named := namesAddresses(t, name)
			if named {
				addresses.Lock()
				defer addresses.Unlock()
			}
			dir := writeConfig(t, name, want.corrected)
			r, rejected := claimsOf(t, dir, "--static")
			assert.Zero(t, rejected, "%v", r.Problems)
			args := []string{"test", "config", "--fail-on", "none", "--checks", strings.Join(probeChecks, ",")}
			if want.header != "" {
				args = append(args, "--header", want.header)
			}
			p := start(t, dir, args...)
			code := p.wait(t)
			assert.Contains(t, []int{0, 1, 3}, code, "%s\n%s", p.stderr.String(), p.stdout.String())
			_, rep := reportOf(t, dir)
			assert.Empty(t, rep.Env.Interrupted)
			if !named {
				assertOwnNetwork(t, rep.Env.ClientAddr)
			}
			upheld, refuted := 0, []string{}
			for _, v := range rep.Verdicts {
				switch v.Outcome {
				case report.Upheld:
					upheld++
				case report.Refuted:
					refuted = append(refuted, v.Claim.ID)
					t.Log(v.Claim.ID, v.Reason)
				}
			}
			assert.Positive(t, upheld)
			if want.header != "" {
				assert.Equal(t, 0, code, "%s", p.stdout.String())
			}
			assert.ElementsMatch(t, want.breaks, refuted)
			p.nothingLeft(t, 0)
		})
	}
}

// An accepted configuration may not start: HAProxy checks at startup only whether a directory exists.
func TestAcceptedButNotStarted(t *testing.T) {
	t.Parallel()
	dir := writeConfig(t, "haproxy/weighted", []string{"maxconn 4096", "chroot /nowhere"})
	r, _ := claimsOf(t, dir)
	assert.True(t, r.Checker.Accepted, "%v", r.Checker.Messages)
	assert.False(t, r.Checker.Started)
	require.NotEmpty(t, r.Checker.Messages)
	assert.Contains(t, r.Checker.Messages[len(r.Checker.Messages)-1].Text, "Cannot chroot")
	p := start(t, dir, "test", "config")
	assert.Equal(t, 4, p.wait(t))
	assert.Contains(t, p.stderr.String(),
		"haproxy accepts the configuration but does not start with it: container haproxy@lbproof exited")
	assert.Contains(t, p.stderr.String(), "Cannot chroot")
	p.nothingLeft(t, 0)
}

// Distant upstream addresses get separate networks; the balancer joins all of them.
func TestAddressesFarApart(t *testing.T) {
	t.Parallel()
	dir := writeConfig(t, "haproxy/weighted", []string{"back-01:8000", "10.77.31.7:8000", "back-02:8000", "192.168.177.8:8000"})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short.yaml"), []byte(short), 0o644))
	p := start(t, dir, "test", "short.yaml")
	assert.Contains(t, []int{0, 3}, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	_, r := reportOf(t, dir)
	assert.Equal(t, map[string]int{"10.77.31.7": 5, "192.168.177.8": 10, "back-03": 15}, r.Phases[0].Servers)
	p.nothingLeft(t, 0)
}

// If two configurations name the same addresses, the second run waits for the first, says so, and then succeeds too.
// Public, distant addresses exist inside the run only; the machine gets none of them, and no route to any.
func TestTwoRunsWithTheSameAddresses(t *testing.T) {
	t.Parallel()
	dir := writeConfig(t, "haproxy/weighted", []string{"back-01:8000", "203.0.113.5:8000", "back-02:8000", "203.128.1.1:8000", "back-03:8000", "169.254.169.254:8000"})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "short.yaml"), []byte(short), 0o644))
	first := start(t, dir, "test", "short.yaml", "--out", "first")
	first.until(t, "starting the stack")
	cli := engineAPI(t)
	require.Eventually(t, func() bool { return len(first.labelled(t, cli)) > 4 }, time.Minute, time.Millisecond) // a reaper, three networks, a node
	second := start(t, dir, "test", "short.yaml", "--out", "second")
	second.until(t, "waiting for run "+first.run.Load().(string)+", which uses the network ")
	routes, err := os.ReadFile("/proc/net/route")
	require.NoError(t, err)
	for _, p := range []*process{first, second} {
		assert.Contains(t, []int{0, 3}, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
		p.nothingLeft(t, 0)
	}
	for _, network := range []string{"007100CB", "000180CB", "00A9FEA9"} { // 203.0.113.0, 203.128.1.0, 169.254.169.0
		assert.NotContains(t, string(routes), network)
	}
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		for _, network := range []string{"203.", "169.254.169."} {
			assert.False(t, strings.HasPrefix(a.String(), network), "the machine has %s", a)
		}
	}
}
