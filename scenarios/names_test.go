package scenarios_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// planWith is the plan of a scenario, but for its usual parts, on an nginx with servers.
func planWith(t *testing.T, more string, servers ...string) (plan.Plan, error) {
	t.Helper()
	config := "events {}\nhttp {\nupstream u {\nserver " + strings.Join(servers, ":80;\nserver ") + ":80;\n}\nserver { location / { proxy_pass http://u; } }\n}\n"
	cfg, err := lbconfigs.Read(fstest.MapFS{"nginx.conf": {Data: []byte(config)}}, "nginx.conf", "nginx")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	text := "name: s\ndoc: d\nconfig: nginx.conf\nphases: [{name: p, rate: 10, for: 10s, send: [{path: /}]}]\n" + more
	s, err := scenarios.Read(fstest.MapFS{"s.yaml": {Data: []byte(text)}}, "s.yaml")
	require.NoError(t, err)
	return s.Plan(cfg, specs)
}

// The target of a fault is the server of that name, in any spelling, else lbproof's own node of that short name.
func TestTargetsByName(t *testing.T) {
	f := func(target, peer, wantTarget, wantPeer string, servers ...string) {
		t.Helper()
		plan, err := planWith(t, fmt.Sprintf("needs: [postgres]\nfaults: [{fault: pause, target: %s, peer: '%s', at: 1s, for: 1s}]\n", target, peer), servers...)
		require.NoError(t, err)
		assert.Equal(t, wantTarget+" seen by "+wantPeer, plan.Events[0].Target+" seen by "+plan.Events[0].Peer)
	}
	f("nginx", "", "nginx@lbproof", "worker@lbproof", "a", "b")
	f("nginx", "", "nginx", "nginx@lbproof", "nginx", "b")
	f("NGINX.", "", "nginx", "nginx@lbproof", "nginx", "b")
	f("b", "balancer", "B", "nginx@lbproof", "nginx", "B")
	f("balancer", "", "nginx@lbproof", "worker@lbproof", "balancer", "b")
	f("nginx@lbproof", "client", "nginx@lbproof", "worker@lbproof", "nginx", "client")
	f("a", "worker", "a", "worker@lbproof", "a", "b")
	f("a", "worker", "a", "worker", "a", "worker")
	f("postgres", "", "postgres@lbproof", "a", "a", "b")
	f("server 1", "", "balancer", "nginx@lbproof", "balancer", "b")
}

// Programs in the user's configuration use the short name of a dependency, so no server may have it.
func TestNeedsWithTheNameOfAServer(t *testing.T) {
	_, err := planWith(t, "needs: [redis]\n", "a", "Redis")
	assert.EqualError(t, err, "s.yaml: needs: redis is also the name of a server in the configuration (nginx.conf:5); rename that server")
	_, err = planWith(t, "", "a", "redis")
	assert.NoError(t, err)
}

func TestLimitsByName(t *testing.T) {
	plan, err := planWith(t, "backends: {A.: {cpus: 0.5, memory: 64MiB}}\n", "a", "b")
	require.NoError(t, err)
	assert.InDelta(t, 0.5, plan.Specs[1].CPUs, 0)
	_, err = planWith(t, "backends:\n  a: {cpus: 0.5, memory: 64MiB}\n  A: {cpus: 1, memory: 64MiB}\n", "a", "b")
	assert.ErrorContains(t, err, "s.yaml:7: backends: A and a (line 6) are the same backend; keep one")
}
