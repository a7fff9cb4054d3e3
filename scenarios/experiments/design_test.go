package experiments_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

func designed(t *testing.T, name string) plan.Plan {
	t.Helper()
	return designedFrom(t, lbconfigs.BuiltIn, name)
}

func designedFrom(t *testing.T, fsys fs.FS, name string) plan.Plan {
	t.Helper()
	cfg, err := lbconfigs.Read(fsys, name, "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	p, err := experiments.Design("designed", cfg, specs, experiments.Setup{CPUs: 2})
	require.NoError(t, err)
	return p
}

func phaseNames(p plan.Plan) []string {
	var names []string
	for _, l := range p.Phases {
		names = append(names, l.Name)
	}
	return names
}

// Each rate is tested on the second balancer too, from the same addresses.
func TestDesignOfTwoBalancers(t *testing.T) {
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "nginx/limits", "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	p, err := experiments.Design("designed", cfg, specs, experiments.Setup{CPUs: 2, Balancers: 2, Checks: []plan.Check{plan.CheckLimits}})
	require.NoError(t, err)
	peer := p.Specs[len(p.Specs)-1]
	assert.Equal(t, plan.Peer, peer.Role)
	first, both, slowed := map[string]plan.Phase{}, 0, 0
	for _, l := range p.Phases {
		name, peered := strings.CutSuffix(l.Name, " via "+peer.Name)
		switch {
		case l.ViaPeer == "":
			first[l.Name] = l
		case peered:
			both++
			assert.Equal(t, peer.Name, l.ViaPeer)
			assert.Equal(t, first[name].Clients, l.Clients)
		default: // the phases in which its servers slow down and recover
			slowed++
			assert.Equal(t, peer.Name, l.ViaPeer)
		}
	}
	assert.Equal(t, 4, both, "three rates and one concurrency limit")
	assert.Equal(t, 2, slowed)
}

// Handshakes carry the keys of a pool that only tunnels reach.
func TestDesignOfHashedTunnels(t *testing.T) {
	fsys := fstest.MapFS{"haproxy.cfg": {Data: []byte(`defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend web
  bind :80
  use_backend sockets if { hdr(upgrade) -i websocket }
  default_backend pages
backend sockets
  balance source
  server a a:8000
  server b b:8000
backend pages
  server a a:8000
`)}}
	p := designedFrom(t, fsys, "haproxy.cfg")
	i := slices.IndexFunc(p.Phases, func(l plan.Phase) bool { return l.Name == "keys sockets" })
	require.GreaterOrEqual(t, i, 0)
	l := p.Phases[i]
	assert.Equal(t, plan.Prober, l.Engine)
	assert.Equal(t, 96, l.Clients.Count)
	assert.Equal(t, "websocket", l.Requests[0].Header["Upgrade"])
	assert.Equal(t, "algorithm/sockets", l.Requests[0].Claim)
}

// Phases that disturb others come last, and every fault lies in a phase before the one that needs it.
func TestDesignOrdersItsPhases(t *testing.T) {
	assert.Equal(t, []string{
		"probes", "sequential", "sampling", "sampling one in flight", "keys by-key", "keys by-ring", "busy by-fewest: servers slow down", "busy by-fewest",
		"reload reload/nginx", "single requests", "outages", "address changes", "timeouts", "failures: reset failure counts", "failures",
	}, phaseNames(designed(t, "nginx/algorithms")))
	planned := designed(t, "nginx/limits")
	assert.Equal(t, []string{
		"probes", "rotation", "overload by address 30/s for 3 s", "overload by address 60/s for 3 s", "overload tokens", "overload downloads: servers slow down",
		"overload downloads", "overload downloads: servers recover", "reload by address 30/s for 3 s", "reload tokens", "reload reload/nginx", "single requests", "outages: reset failure counts", "outages", "address changes", "timeouts", "failures: reset failure counts", "failures",
	}, phaseNames(planned))
	require.Greater(t, len(planned.Events), 5, "including outages")
	for _, e := range planned.Events {
		if e.Fault == plan.FaultKill {
			assert.Equal(t, "outages", planned.Phases[e.Phase].Name)
			continue
		}
		if e.Fault == plan.FaultMove {
			assert.Equal(t, "address changes", planned.Phases[e.Phase].Name)
			continue
		}
		if e.Fault == plan.FaultReload {
			assert.Contains(t, []int{8, 9, 10, 12, 13, 16}, e.Phase)
			assert.Less(t, e.At+e.Duration, planned.Phases[e.Phase].EstimatedDuration())
			continue
		}
		assert.Equal(t, 5, e.Phase)
		assert.Greater(t, e.Duration, planned.Phases[5].EstimatedDuration())
	}
}

// Selecting the kinds of claims allows more outages.
func TestDesignWithExtendedTime(t *testing.T) {
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "nginx/orchestry", "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	for extended, want := range map[bool]int{false: 3, true: 5} {
		planned, err := experiments.Design("designed", cfg, specs, experiments.Setup{CPUs: 2, Checks: []plan.Check{plan.CheckPassive}, ExtendedTime: extended})
		require.NoError(t, err)
		outages := 0
		for _, e := range planned.Events {
			if e.Fault == plan.FaultKill && e.Target == "10.20.0.11" {
				outages++
			}
		}
		assert.Equal(t, want, outages)
	}
}

// The first outage begins once health checks must have succeeded since the balancer started or reloaded, and at once
// if earlier phases took that long.
func TestDesignOfFirstOutages(t *testing.T) {
	for name, want := range map[string]time.Duration{"haproxy/sysmanage": 11 * time.Second, "traefik/order-api": time.Second} {
		planned, first := designed(t, name), time.Duration(0)
		for _, e := range planned.Events {
			at, isOutage := e.At, e.Fault == plan.FaultKill && e.Target != "10.0.1.21" && planned.Phases[e.Phase].Name == "outages" // checked more often
			if isOutage && (first == 0 || at < first) {
				first = at
			}
		}
		assert.Equal(t, want, first, name)
	}
}

// Backups with limits are tested too, and denied requests come back over other connections, to other workers.
func TestDesignSaturatesBackups(t *testing.T) {
	planned := designed(t, "nginx/orchestry")
	i := slices.Index(phaseNames(planned), "saturation pay_upstream")
	require.Positive(t, i)
	assert.True(t, planned.Phases[i].NewConnections)
	var slow []string
	for _, e := range planned.Events {
		if e.Phase == i-1 && e.Fault == plan.FaultSlow {
			slow = append(slow, e.Target)
		}
	}
	assert.Equal(t, []string{"10.20.4.11", "10.20.4.12"}, slow)
}

// A phase that waits for timeouts takes as long as they do.
func TestWaitPhasesTakeTheirTime(t *testing.T) {
	p := designed(t, "haproxy/impatient")
	i := slices.IndexFunc(p.Phases, func(l plan.Phase) bool { return l.Name == "timeouts" })
	require.GreaterOrEqual(t, i, 0)
	assert.InDelta(t, 33, p.Phases[i].EstimatedDuration().Seconds(), 0.5, "timeout client 30s plus up to 3 s")
}

// All requests carry the header without which something unreadable refuses them.
func TestDesignSendsTheProbeHeader(t *testing.T) {
	assert.Equal(t, []string{"probes"}, phaseNames(designed(t, "nginx/sysmanage-lua")))
	cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "nginx/sysmanage-lua", "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	planned, err := experiments.Design("designed", cfg, specs, experiments.Setup{CPUs: 2, ProbeHeader: map[string]string{"Cookie": "sessionid=a", "Upgrade": "b"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"probes", "reload reload/nginx", "single requests", "timeouts", "failures: reset failure counts", "failures"}, phaseNames(planned))
	upgraded := 0
	for _, l := range planned.Phases {
		for _, r := range l.Requests {
			assert.Equal(t, "sessionid=a", r.Header["Cookie"], l.Name)
			if r.Header["Upgrade"] == "websocket" {
				upgraded++
			}
		}
	}
	assert.Positive(t, upgraded, "a request keeps its own field")
}

// Requirements share a phase where possible, each with as many requests as it needs, and stop rules are corrected for
// the number of tests.
func TestDesignMerges(t *testing.T) {
	planned := designed(t, "nginx/algorithms")
	draws := planned.Phases[2]
	assert.Len(t, draws.Requests, 2, "the sampled pool and the split")
	require.Len(t, draws.StopRules, 2)
	assert.InDelta(t, 0.001/4, draws.StopRules[0].Alpha, 1e-9, "three sampled claims in the plan, and a slowed server")
	assert.Contains(t, draws.Checks, plan.CheckAlgorithm)
	assert.Contains(t, draws.Checks, plan.CheckSplit)
	assert.NotContains(t, draws.Checks, "weights")
	assert.Len(t, draws.Detects, 2)
}

// Every built-in configuration has a design, or a reason why not.
func TestDesignOfEveryConfiguration(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err, name)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err, name)
		planned, err := experiments.Design("designed", cfg, specs, experiments.Setup{CPUs: 2})
		if err != nil {
			assert.ErrorContains(t, err, cfg.Files[0].Name)
			continue
		}
		for _, l := range planned.Phases {
			assert.NotEmpty(t, l.Checks, "%s: %s", name, l.Name)
			assert.Positive(t, l.Count, "%s: %s", name, l.Name)
			if l.IsOpenLoop() {
				continue
			}
			assert.Equal(t, 0, l.Count%len(l.Requests)*min(1, len(l.Detects)), "%s: %s: each request equally often", name, l.Name)
		}
	}
}

// An outage of an nginx server always begins while bursts go to other pools, or to none: no request in flight fails
// unseen.
func TestOutagesBetweenBursts(t *testing.T) {
	for name, servers := range map[string]int{"nginx/orchestry": 4, "nginx/sysmanage": 1, "nginx/order-api": 1, "nginx/phoenix": 1} {
		planned := designed(t, name)
		outages, reloads := map[string]int{}, 0
		for _, e := range planned.Events {
			l := planned.Phases[e.Phase]
			switch {
			case l.BurstLen == 0 || e.Fault != plan.FaultKill && e.Fault != plan.FaultReload:
				continue
			case e.Fault == plan.FaultReload:
				reloads++
				continue
			}
			outages[e.Target]++
			for _, at := range []time.Duration{e.At, e.At + 100*time.Millisecond} {
				sent := l.Requests[l.RequestIndex(int(at.Seconds()*l.Rate))]
				path, _, _ := strings.Cut(sent.Path, "?")
				route, _ := planned.Config.Route(sent.Port, sent.Header["Host"], path)
				pool, _ := planned.Config.Pool(route.Pool)
				assert.False(t, slices.ContainsFunc(pool.Servers, func(s model.Server) bool { return s.Host == e.Target }), "%s: %s at %s", name, e.Target, at)
			}
		}
		assert.Len(t, outages, servers, name)
		assert.Equal(t, 2, reloads, "%s: failure counts are reset between three outages", name)
	}
}

// Faults hit the intended servers, even if they are named like the balancer.
func TestDesignedTargets(t *testing.T) {
	cfg, err := lbconfigs.Read(fstest.MapFS{"haproxy.cfg": {Data: []byte(`defaults
  mode http
  option redispatch
frontend web
  bind :80
  default_backend app
backend app
  option httpchk GET /health
  server balancer balancer:80 check
  server haproxy haproxy:80 check
`)}}, "haproxy.cfg", "")
	require.NoError(t, err)
	specs, err := lbconfigs.Specs(cfg)
	require.NoError(t, err)
	planned, err := experiments.Design("d", cfg, specs, experiments.Setup{CPUs: 1})
	require.NoError(t, err)
	targets := map[string][]string{}
	for _, e := range planned.Events {
		targets[string(e.Fault)] = append(targets[string(e.Fault)], e.Target)
	}
	assert.Subset(t, []string{"balancer", "haproxy"}, targets["kill"])
	assert.Contains(t, targets["kill"], "balancer")
	assert.NotEmpty(t, targets["reload"])
	assert.NotContains(t, targets["reload"], "balancer")
}
