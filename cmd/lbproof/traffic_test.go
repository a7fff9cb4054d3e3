package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// The tests in this file send all kinds of traffic through the real balancers. They need Docker; go test -short skips
// them.

// runScenario runs a scenario from a text, or with other arguments, and returns its report.
func runScenario(t *testing.T, scenario string, args ...string) (folder string, r report.Report, code int) {
	t.Helper()
	dir := t.TempDir()
	if scenario != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte(scenario), 0o644))
		args = append([]string{"test", "scenario.yaml"}, args...)
	}
	p := start(t, dir, args...)
	code = p.wait(t)
	require.NotEqual(t, 2, code, p.stderr.String())
	require.NotEqual(t, 4, code, p.stderr.String())
	folder, r = reportOf(t, dir)
	return folder, r, code
}

func phaseOf(t *testing.T, r report.Report, name string) report.Phase {
	t.Helper()
	for _, p := range r.Phases {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("the report has no phase %s", name)
	return report.Phase{}
}

// assertDelivery asserts that each request arrived at one backend once and was answered by it.
func assertDelivery(t *testing.T, r report.Report, sent int) {
	t.Helper()
	assert.Equal(t, report.Delivery{Sent: sent, Arrived: r.Delivery.Arrived}, r.Delivery)
}

// nginx with enough connections serves 10,000 concurrent clients without error or loss, and the sender stays small.
func TestTenThousandConnections(t *testing.T) {
	f, r, code := runScenario(t, "", "test", "builtin:nginx/many-connections", "--scenario", "spike")
	assert.Zero(t, code)
	spike := phaseOf(t, r, "spike")
	assert.Equal(t, plan.Epoll, spike.Engine)
	assert.Equal(t, 20000, spike.Hits)
	assert.Zero(t, spike.Errors)
	assert.Equal(t, 10000, spike.Connections)
	assert.Equal(t, 10000, spike.MaxInFlight)
	want := map[string]int{"back-01": 3334, "back-02": 6666, "back-03": 10000}
	assert.Equal(t, want, roundTo(spike.Servers, 3334, 6666, 10000))
	assertDelivery(t, r, 22688)
	h, err := folder.Open(f)
	require.NoError(t, err)
	samples := 0
	for s := range h.Samples {
		if s.Node == plan.WorkerName {
			samples++
			assert.Less(t, s.Memory, int64(64<<20), "the sender's memory")
		}
	}
	require.NoError(t, h.Err())
	assert.GreaterOrEqual(t, samples, 3)
}

// roundTo replaces counts by the wanted ones that they differ from by one, as smooth weighted round robin may.
func roundTo(counts map[string]int, right ...int) map[string]int {
	out := map[string]int{}
	for name, n := range counts {
		out[name] = n
		for _, r := range right {
			if n-r <= 1 && r-n <= 1 {
				out[name] = r
			}
		}
	}
	return out
}

// With 1,024 connections per worker such a load fails; the report names the number of requests in flight and the line.
func TestTooManyConnectionsAreExplained(t *testing.T) {
	_, r, code := runScenario(t, "", "test", "high-concurrency")
	assert.Equal(t, 1, code)
	for _, v := range r.Verdicts {
		if v.Claim.Check != plan.CheckAnswered && v.Claim.Check != plan.CheckExpect {
			continue
		}
		assert.Equal(t, report.Refuted, v.Outcome)
		assert.Contains(t, v.Reason, "up to 5,000 requests were in flight; they failed from ")
		assert.Contains(t, v.Reason, "by nginx/weighted/nginx.conf:5 a worker has 1,024 connections "+
			"and a proxied request takes two, so 512 in each of 2 workers")
	}
	p := phaseOf(t, r, "high concurrency")
	assert.Positive(t, p.FirstFailureInFlight)
	assert.InDelta(t, 1024, p.MaxInFlightOK, 120)
	assert.Zero(t, r.Delivery.Duplicated+r.Delivery.Misrouted+r.Delivery.Unknown)
}

const clientsScenario = `
name: clients
doc: 5,000 clients, each with its own address, connection and key
config: builtin:nginx/weighted
checks: [weights, answered, once, headers]
phases:
  - name: many
    requests: 10000
    concurrency: 200
    clients: {count: 5000, addresses: true, cookies: true}
    keys: {header: X-User, count: 100, zipf: 1.2}
    send: [{path: /, share: 3}, {path: /health}]
    expect: [errors == 0]
`

// X-Real-IP is compared with the address of the client for every request.
func TestFiveThousandClientAddresses(t *testing.T) {
	_, r, code := runScenario(t, clientsScenario)
	assert.Zero(t, code)
	assertDelivery(t, r, 10688)
	assert.GreaterOrEqual(t, phaseOf(t, r, "many").Connections, 5000)
	clients, err := netip.ParsePrefix(r.Env.ClientNetwork)
	require.NoError(t, err)
	assertOwnNetwork(t, clients.Addr().String())
}

const socketScenario = `
name: sockets
doc: WebSocket connections held open
config: builtin:BALANCER/weighted
checks: [answered, once]
phases:
  - name: agents
    protocol: websocket
    requests: 1500
    concurrency: 100
    think: 50ms
    send: [{path: /ws/agent}]
    expect: [errors == 0]
`

func TestWebSocketsStayOpen(t *testing.T) {
	t.Parallel()
	for _, balancer := range []string{"haproxy", "traefik"} {
		_, r, code := runScenario(t, strings.ReplaceAll(socketScenario, "BALANCER", balancer))
		assert.Zero(t, code, balancer)
		p := phaseOf(t, r, "agents")
		assert.Equal(t, 100, p.Connections)
		assert.Zero(t, p.Reopened)
		assert.Len(t, p.Servers, 3)
		assertDelivery(t, r, 2188)
	}
}

const tlsScenario = `
name: tls
doc: HTTP/2 on few connections, and handshakes with and without an earlier session
config: builtin:nginx/order-api
checks: [once]
phases:
  - name: h2
    protocol: h2
    requests: 400
    rate: 200
    concurrency: 20
    send: [{path: /}]
  - name: resumed
    requests: 200
    concurrency: 10
    fresh-connections: true
    send: [{path: /}]
  - name: full
    requests: 200
    concurrency: 10
    fresh-connections: true
    full-handshakes: true
    send: [{path: /}]
`

func TestHTTP2AndHandshakes(t *testing.T) {
	t.Parallel()
	_, r, _ := runScenario(t, tlsScenario)
	h2, resumed, full := phaseOf(t, r, "h2"), phaseOf(t, r, "resumed"), phaseOf(t, r, "full")
	assert.Equal(t, plan.Vegeta, h2.Engine)
	assert.Less(t, h2.Connections, 20, "streams share connections")
	assert.Greater(t, h2.RequestsPerConnection, 20.0)
	assert.Equal(t, 200, resumed.Handshakes)
	assert.GreaterOrEqual(t, resumed.Resumed, 190)
	assert.Equal(t, 200, full.Handshakes)
	assert.Zero(t, full.Resumed)
	assert.Positive(t, full.HandshakeP50)
}

const slowScenario = `
name: slow
doc: a backend with latencies that show its CPU limit
config: builtin:nginx/weighted
checks: [restarts]
backends:
  back-01: {cpus: 0.02, memory: 64MiB}
phases:
  - name: throttled
    rate: 1500
    for: 4s
    concurrency: 400
    send: [{path: /}]
    expect: ['p99{backend: back-01} < 20ms']
`

// A throttled backend is reported, and its latencies refute no promise.
func TestThrottledBackendIsTheCause(t *testing.T) {
	_, r, code := runScenario(t, slowScenario)
	assert.Equal(t, 3, code)
	last := r.Verdicts[len(r.Verdicts)-1]
	assert.Equal(t, report.Undecided, last.Outcome)
	assert.Contains(t, last.Reason, "back-01 was throttled")
	assert.Contains(t, last.Reason, "at its limit of 0.02 cores")
}

// A ramp ends after the first second that exceeds the limits, and the report has the rate.
func TestRampBreaks(t *testing.T) {
	_, r, _ := runScenario(t, `
name: ramp
doc: to the breaking point of a small backend
config: builtin:nginx/weighted
checks: [restarts]
backends:
  back-03: {cpus: 0.1, memory: 64MiB}
phases:
  - name: up
    rate: {ramp: {from: 50, to: 8000}}
    for: 30s
    concurrency: 2000
    breaks: {errors: 1%, p99: 1s}
    send: [{path: /}]
`)
	up := phaseOf(t, r, "up")
	assert.Positive(t, up.BreakingRate)
	assert.Positive(t, up.MaxGoodRate)
	assert.Less(t, up.Hits, 100_000)
}

func TestSoakLastsAsLongAsAsked(t *testing.T) {
	t.Parallel()
	began := time.Now()
	_, r, code := runScenario(t, "", "test", "soak", "--for", "3s")
	assert.Zero(t, code)
	assert.Equal(t, 300, phaseOf(t, r, "soak").Hits)
	assert.Less(t, time.Since(began), 30*time.Second)
}
