package scenarios_test

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios"
)

// site is a configuration that listens, in the clear or not.
func site(tls bool) model.Config {
	return model.Config{
		Files: []model.File{{Name: "x.conf"}}, Listeners: []model.Listener{{Port: 80, TLS: tls}},
		Routes: []model.Route{{Path: "/", Port: 80, TLS: tls, Pool: "p", DefaultHost: true}},
	}
}

// planned makes a plan of a scenario with one phase, given as YAML at the depth of its fields.
func planned(t *testing.T, tls bool, phase string) (plan.Plan, error) {
	t.Helper()
	text := "name: s\ndoc: d\nconfig: c\nseed: 7\nphases:\n  - name: p\n    send: [{path: /a}]\n    " + strings.ReplaceAll(phase, "\n", "\n    ") + "\n"
	fsys := fstest.MapFS{"s.yaml": {Data: []byte(text)}, "times.txt": {Data: []byte("# seconds\n5\n5.5\n\n7\n")}}
	s, err := scenarios.Read(fsys, "s.yaml")
	if err != nil {
		return plan.Plan{}, err
	}
	s.Checks = []plan.Check{plan.CheckRestarts}
	return s.Plan(site(tls), []plan.Spec{{Name: "b", Role: plan.Backend, Ports: []int{80}}})
}

func TestShapesOfRates(t *testing.T) {
	f := func(phase string, count int, rate float64, shape plan.Shape) {
		t.Helper()
		p, err := planned(t, false, phase)
		require.NoError(t, err, phase)
		l := p.Phases[0]
		assert.Equal(t, count, l.Count, phase)
		assert.InDelta(t, rate, l.Rate, 1e-9, phase)
		assert.Equal(t, shape, l.Shape, phase)
		assert.Equal(t, plan.Epoll, l.Engine)
		assert.Equal(t, 256, l.Concurrency)
	}
	f("rate: 100\nrequests: 30", 30, 100, plan.Shape{})
	f("rate: 100\nfor: 3s", 300, 100, plan.Shape{})
	f("rate: {poisson: 50}\nfor: 2s", 100, 50, plan.Shape{Kind: plan.Poisson})
	f("rate: {ramp: {from: 0, to: 100}}\nfor: 4s", 200, 50, plan.Shape{Kind: plan.Ramp, To: 100})
	f("rate: {sine: {low: 10, high: 30, period: 2s}}\nfor: 4s", 80, 20, plan.Shape{Kind: plan.Sine, From: 10, To: 30, Period: 2 * time.Second})
	f("rate: {bursts: {size: 5, every: 2s}}\nfor: 5s", 15, 2.5, plan.Shape{Kind: plan.Bursts, BurstSize: 5, Period: 2 * time.Second})
	f("rate: {steps: [{rate: 10, for: 2s}, {rate: 40, for: 1s}]}", 60, 20, plan.Shape{Kind: plan.Steps, Steps: []plan.Step{{Rate: 10, Duration: 2 * time.Second}, {Rate: 40, Duration: time.Second}}})
	f("rate: {spike: {base: 10, peak: 100, at: 2s, for: 1s}}\nfor: 4s", 130, 32.5, plan.Shape{Kind: plan.Steps, Steps: []plan.Step{
		{Rate: 10, Duration: 2 * time.Second}, {Rate: 100, Duration: time.Second}, {Rate: 10, Duration: time.Second},
	}})
	f("rate: {replay: times.txt}", 3, 1.5, plan.Shape{Kind: plan.Replay, Times: []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}})
}

func TestMixes(t *testing.T) {
	p, err := planned(t, false, "requests: 10\nconcurrency: 2\nthink: 5ms\nkeys: {header: X-User, count: 3}\nclients: {count: 4, cookies: true}\nbreaks: {errors: 2.5%, p99: 1s}")
	require.NoError(t, err)
	l := p.Phases[0]
	assert.Equal(t, []string{"key-1", "key-2", "key-3"}, l.Keys.Values)
	assert.Equal(t, plan.Clients{Count: 4, Cookies: true}, l.Clients)
	assert.Equal(t, plan.BreakLimits{ErrorShare: 0.025, P99: time.Second}, l.BreakLimits)
	assert.Equal(t, 5*time.Millisecond, l.ThinkTime)
	assert.Equal(t, uint64(7), l.Seed)
	text := "name: s\ndoc: d\nconfig: c\nphases: [{name: p, requests: 1, concurrency: 1, send: [{path: /a, share: 3}, {path: /b}]}]"
	s, err := scenarios.Read(fstest.MapFS{"s.yaml": {Data: []byte(text)}}, "s.yaml")
	require.NoError(t, err)
	s.Checks = []plan.Check{plan.CheckRestarts}
	p, err = s.Plan(site(false), nil)
	require.NoError(t, err)
	var paths []string
	for _, r := range p.Phases[0].Requests {
		paths = append(paths, r.Path)
	}
	assert.Equal(t, []string{"/a", "/a", "/b", "/a"}, paths)
}

func TestEnginesAreChosen(t *testing.T) {
	f := func(want plan.Engine, tls bool, phase string) {
		t.Helper()
		p, err := planned(t, tls, phase)
		require.NoError(t, err)
		assert.Equal(t, want, p.Phases[0].Engine, phase)
	}
	f(plan.Epoll, false, "requests: 1\nconcurrency: 1")
	f(plan.Goroutines, true, "requests: 1\nconcurrency: 1")
	f(plan.Vegeta, true, "requests: 1\nconcurrency: 1\nprotocol: h2")
	f(plan.WebSocket, true, "requests: 1\nconcurrency: 1\nprotocol: websocket")
	f(plan.Goroutines, false, "requests: 1\nconcurrency: 1\nengine: goroutines")
}

func TestExpectationsAreClaims(t *testing.T) {
	p, err := planned(t, false, "requests: 1\nconcurrency: 1\nexpect:\n  - errors == 0\n  - p99 < 250ms")
	require.NoError(t, err)
	last := p.Claims[len(p.Claims)-1]
	assert.Equal(t, plan.Claim{
		ID: "expect/p#p99 < 250ms", Check: "expect", Subject: "p", Detail: "p99 < 250ms",
		Pos:         model.Pos{File: "s.yaml", Line: 12},
		Text:        "Expected in phase p: p99 < 250ms.",
		Expectation: &plan.Expectation{Source: "p99 < 250ms", Metric: "p99", Quantile: 0.99, Op: "<", Bound: 0.25},
	}, last)
	assert.Equal(t, []plan.Check{plan.CheckRestarts, plan.CheckExpect}, p.Checks)
}

func TestInvalidPhases(t *testing.T) {
	f := func(want, phase string) {
		t.Helper()
		_, err := planned(t, false, phase)
		assert.ErrorContains(t, err, want)
	}
	f("s.yaml:6: phase \"p\": for needs a rate; a closed loop needs requests instead", "for: 3s\nconcurrency: 1")
	f("s.yaml:6: phase \"p\": add requests or for (e.g. for: 10s)", "rate: 5")
	f("requests and for exclude each other", "rate: 5\nrequests: 5\nfor: 3s")
	f("think applies to closed loops; remove it or rate", "rate: 5\nrequests: 5\nthink: 1s")
	f("protocol h2 needs TLS; the listener has none", "requests: 5\nconcurrency: 1\nprotocol: h2")
	f("engine vegeta supports a single client without cookies", "requests: 5\nconcurrency: 1\nengine: vegeta\nclients: {count: 2}")
	f("engine epoll does not support websocket; remove engine", "requests: 5\nconcurrency: 1\nengine: epoll\nprotocol: websocket")
	f("websocket needs a closed loop", "requests: 5\nrate: 1\nprotocol: websocket")
	f("engine vegeta does not support think", "requests: 5\nconcurrency: 1\nengine: vegeta\nthink: 1s")
	f("precise needs an open loop", "requests: 5\nconcurrency: 1\nprecise: true")
	f("engine vegeta does not support precise", "requests: 5\nrate: 1\nengine: vegeta\nprecise: true")
	f("remove fresh-connections", "requests: 5\nconcurrency: 1\nprotocol: websocket\nfresh-connections: true")
	f("keys need a header or a cookie", "requests: 5\nconcurrency: 1\nkeys: {count: 5}")
	f("zipf needs at least two keys", "requests: 5\nconcurrency: 1\nkeys: {header: X, count: 1, zipf: 2}")
	f("spike: ends at 5s, after the phase (for: 4s); extend for", "rate: {spike: {base: 10, peak: 100, at: 2s, for: 3s}}\nfor: 4s")
	f("steps determine the duration; remove requests and for", "rate: {steps: [{rate: 10, for: 2s}]}\nfor: 4s")
	f("replay determines the requests; remove requests and for", "rate: {replay: times.txt}\nfor: 4s")
	f("s.yaml:8: replay: nothing.txt: no such file; paths are relative to the scenario's folder", "rate: {replay: nothing.txt}")
	f("low is above high; swap them", "rate: {sine: {low: 40, high: 30, period: 2s}}\nfor: 4s")
	f(`s.yaml:8: phases[0].rate.ramp: "5" is not a map of fields`, "rate: {ramp: 5}\nfor: 4s")
	f(`s.yaml:8: phases[0].rate.ramp: missing to`, "rate: {ramp: {from: 5}}\nfor: 4s")
	f(`s.yaml:8: phases[0].rate: unknown shape "rmap"; did you mean ramp?`, "rate: {rmap: {from: 5, to: 6}}\nfor: 4s")
	f(`s.yaml:8: phases[0].rate: "fast" is not a rate; write requests per second, or one of poisson, ramp`, "rate: fast\nfor: 4s")
	f(`s.yaml:8: phases[0]: unknown field "rat"; did you mean rate?`, "rat: 5\nrequests: 4")
	f(`s.yaml:9: phases[0].for: "4" is not a whole number with a unit (ms, s, m, h); write e.g. 10s`, "rate: 5\nfor: 4")
	f(`s.yaml:8: phases[0].protocol: "http1.1" is not allowed; did you mean http/1.1?`, "protocol: http1.1\nrate: 5\nfor: 4s")
	f(`s.yaml:8: phases[0].keys.header: 5 is not text; put it in quotes: "5"`, "keys: {header: 5}\nrate: 5\nfor: 4s")
	f(`s.yaml:10: expect: "fast" is not an expectation`, "rate: 5\nrequests: 5\nexpect: [fast]")
	f("101000000 requests exceed the limit of 100000000", "rate: 1000000\nfor: 101s")
}

func TestTwoPhasesOfOneName(t *testing.T) {
	s := scenarios.Scenario{File: "s.yaml", Phases: []scenarios.Phase{{Name: "p", Line: 3, Requests: 1}, {Name: "p", Line: 9, Requests: 1}}, Checks: []plan.Check{plan.CheckRestarts}}
	_, err := s.Plan(site(false), nil)
	assert.ErrorContains(t, err, "s.yaml:9: phase \"p\": another phase has this name; rename one")
}

func TestOverrideDuration(t *testing.T) {
	s, err := scenarios.Read(scenarios.BuiltIn, "soak.yaml")
	require.NoError(t, err)
	require.NoError(t, s.OverrideDuration(20*time.Second))
	assert.Equal(t, 20*time.Second, s.Phases[0].Duration)
	s, err = scenarios.Read(scenarios.BuiltIn, "baseline.yaml")
	require.NoError(t, err)
	assert.ErrorContains(t, s.OverrideDuration(time.Second), "--for 1s: the scenario baseline has no timed phase")
	assert.NoError(t, s.OverrideDuration(0))
}
