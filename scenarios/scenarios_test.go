package scenarios_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

func TestBuiltInScenarios(t *testing.T) {
	for _, name := range scenarios.List() {
		plan, err := fixtures.Plan(name)
		require.NoError(t, err)
		assert.Equal(t, name, plan.Name)
		assert.NotEmpty(t, plan.Claims)
	}
}

func TestBaselinePlan(t *testing.T) {
	p, err := fixtures.Plan("baseline")
	require.NoError(t, err)
	assert.InDelta(t, 0.001, p.Alpha, 0)
	var names []string
	for _, l := range p.Phases {
		names = append(names, l.Name)
	}
	assert.Equal(t, []string{"probes", "closed loop", "open loop"}, names)
	assert.Equal(t, 1000, p.Phases[1].Count)
	assert.Equal(t, 100, p.Phases[1].Concurrency)
	assert.False(t, p.Phases[1].IsOpenLoop())
	assert.InDelta(t, 250, p.Phases[2].Rate, 0)
	limits := map[string][2]float64{}
	for _, s := range p.Specs {
		limits[s.Name] = [2]float64{s.CPUs, float64(s.Memory >> 20)}
		assert.Equal(t, s.Role == plan.Backend, s.AutoRestart)
		assert.Equal(t, s.Role == plan.Backend, len(s.HealthCommand) > 0)
	}
	assert.Equal(t, map[string][2]float64{"nginx@lbproof": {0, 0}, "back-01": {0.125, 64}, "back-02": {0.25, 128}, "back-03": {0.25, 256}}, limits)
	assert.Equal(t, uint64(1+1376+1000), p.FirstHit(2))
	assert.Equal(t, 3376, p.RequestCount())
}

// A plan survives writing and reading.
func TestPlanRoundTrip(t *testing.T) {
	p, err := fixtures.Plan("baseline")
	require.NoError(t, err)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	var again plan.Plan
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, p, again)
}

// Each txtar file is an invalid scenario with its errors.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.Len(t, archive.Files, 2)
			fsys, err := txtar.FS(archive)
			require.NoError(t, err)
			_, err = scenarios.Read(fsys, "scenario.yaml")
			require.Error(t, err)
			if *update {
				archive.Files[1].Data = []byte(err.Error() + "\n")
				require.NoError(t, os.WriteFile(file, txtar.Format(archive), 0o644))
			}
			assert.Equal(t, string(archive.Files[1].Data), err.Error()+"\n")
		})
	}
}

// The schema and the types have the same fields.
func TestSchemaMatchesTypes(t *testing.T) {
	var schema struct {
		Properties map[string]any
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(scenarios.Schema, &schema))
	f := func(properties map[string]any, of any) {
		t.Helper()
		var want, got []string
		for i := range reflect.TypeOf(of).NumField() {
			if name := reflect.TypeOf(of).Field(i).Tag.Get("yaml"); name != "-" {
				want = append(want, name)
			}
		}
		for name := range properties {
			got = append(got, name)
		}
		slices.Sort(want)
		slices.Sort(got)
		assert.Equal(t, strings.Join(want, " "), strings.Join(got, " "))
	}
	f(schema.Properties, scenarios.Scenario{})
	f(schema.Defs["limits"].Properties, scenarios.Limits{})
	f(schema.Defs["fault"].Properties, scenarios.Fault{})
	f(schema.Defs["phase"].Properties, scenarios.Phase{})
	f(schema.Defs["request"].Properties, scenarios.Request{})
	nested := func(of, field string) map[string]any {
		return schema.Defs[of].Properties[field].(map[string]any)["properties"].(map[string]any)
	}
	f(nested("phase", "clients"), scenarios.Clients{})
	f(nested("phase", "keys"), scenarios.Keys{})
	f(nested("phase", "breaks"), scenarios.BreakLimits{})
}

func TestPlanErrors(t *testing.T) {
	s := scenarios.Scenario{File: "s.yaml", Name: "s", Backends: map[string]scenarios.Limits{"b9": {Line: 7}}}
	file := []model.File{{Name: "x.conf"}}
	_, err := s.Plan(model.Config{Files: file}, nil)
	assert.ErrorContains(t, err, "x.conf: no HTTP listener")
	_, err = s.Plan(model.Config{Files: file, Listeners: []model.Listener{{Port: 80}}}, nil)
	assert.ErrorContains(t, err, "x.conf: no claims found")
	cfg := model.Config{Files: file, Listeners: []model.Listener{{Port: 80}}, Routes: []model.Route{{Path: "/up", StaticResponse: &model.StaticResponse{Code: 200}}}}
	_, err = s.Plan(cfg, nil)
	assert.ErrorContains(t, err, `s.yaml:7: backends: "b9" is not a backend of the configuration; there are none`)
	s.Backends, s.Faults = nil, []scenarios.Fault{{Line: 8, Fault: "earthquake"}}
	_, err = s.Plan(cfg, nil)
	assert.ErrorContains(t, err, `s.yaml:8: fault: "earthquake" is not a fault; lbproof list faults shows them`)
	s.Faults[0] = scenarios.Fault{Line: 9, Fault: plan.FaultPause, Target: "b7"}
	_, err = s.Plan(cfg, nil)
	assert.ErrorContains(t, err, `s.yaml:9: target: "b7" is not a node of the run`)
	s.Faults[0] = scenarios.Fault{Line: 9, Fault: "puase"}
	_, err = s.Plan(cfg, nil)
	assert.ErrorContains(t, err, `s.yaml:9: fault: "puase" is not a fault; did you mean pause?`)
	s.Faults[0] = scenarios.Fault{Line: 9, Fault: plan.FaultSlow, With: plan.Settings{"dely": "1s"}}
	_, err = s.Plan(cfg, nil)
	assert.ErrorContains(t, err, `s.yaml:9: with: "dely" is not a setting of slow; did you mean delay?`)
}

// Expectations name backends and alerts that exist.
func TestExpectationNames(t *testing.T) {
	const rules = "groups: [{rules: [{alert: Down, expr: up == 0}]}]"
	f := func(expect, want string) {
		t.Helper()
		text := "name: a\ndoc: d\nconfig: c\nrules: b.yml\nphases: [{name: c, rate: 1, for: 1s, send: [{path: /}],\n  expect: ['" + expect + "']}]\n"
		s, err := scenarios.Read(fstest.MapFS{"a.yaml": {Data: []byte(text)}, "b.yml": {Data: []byte(rules)}}, "a.yaml")
		require.NoError(t, err)
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, "nginx/weighted", "")
		require.NoError(t, err)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err)
		_, err = s.Plan(cfg, specs)
		if want == "" {
			assert.NoError(t, err)
			return
		}
		assert.EqualError(t, err, "a.yaml:6: expect: "+want)
	}
	f("errors{backend: back-01} == 0", "")
	f("alert Down fires", "")
	f("errors{backend: bakc-01} == 0", `"bakc-01" is not a backend of the configuration; did you mean back-01?`)
	f("errors{backend: app} == 0", `"app" is not a backend of the configuration; known: back-01, back-02, back-03`)
	f("alert Donw fires", `"Donw" is not an alert in rules; did you mean Down?`)
}

// Every pattern of the schema is described in errors.
func TestPatternsAreDescribed(t *testing.T) {
	for _, match := range regexp.MustCompile(`"pattern": ("[^"]*")`).FindAllSubmatch(scenarios.Schema, -1) {
		var pattern string
		require.NoError(t, json.Unmarshal(match[1], &pattern))
		assert.Contains(t, scenarios.Formats, pattern)
	}
}

// A request without a port goes to a route that proxies, and backends serve its path.
func TestRequestsAreAimed(t *testing.T) {
	f := func(want plan.Request, cfg model.Config) {
		t.Helper()
		cfg.Files = []model.File{{Name: "x.conf"}}
		s := scenarios.Scenario{Name: "s", Phases: []scenarios.Phase{{Name: "p", Requests: 1, Send: []scenarios.Request{{Path: "/models"}}}}, Checks: []plan.Check{plan.CheckRestarts}}
		p, err := s.Plan(cfg, []plan.Spec{{Name: "b", Role: plan.Backend, Ports: []int{80}}})
		require.NoError(t, err)
		want.Method, want.Body = "GET", model.Bytes{}
		assert.Equal(t, want, p.Phases[0].Requests[0])
	}
	plain := []model.Listener{{Port: 80}}
	f(plan.Request{Port: 80, Path: "/models"}, model.Config{Listeners: plain, Routes: []model.Route{{Path: "/", Port: 80, Pool: "p", DefaultHost: true}}})
	f(plan.Request{Port: 80, Path: "/api/models"}, model.Config{Listeners: plain, Routes: []model.Route{
		{Path: "/", Port: 80, DefaultHost: true, Redirect: &model.Redirect{Code: 301}}, {Path: "/api/", Port: 80, DefaultHost: true, Pool: "p"},
	}})
	f(plan.Request{Port: 443, TLS: true, Path: "/models", Header: map[string]string{"Host": "a.example"}}, model.Config{
		Listeners: []model.Listener{{Port: 80}, {Port: 443, TLS: true}},
		Routes: []model.Route{
			{Path: "/", Port: 80, Redirect: &model.Redirect{Code: 301}, DefaultHost: true},
			{Path: "/", Port: 443, TLS: true, Hosts: []string{"a.example"}, Pool: "p"},
		},
	})
}

// Backends answer the balancer's own health checks and auth requests.
func TestBackendsAnswerTheBalancer(t *testing.T) {
	cfg := model.Config{
		Files: []model.File{{Name: "x.conf"}}, Listeners: []model.Listener{{Port: 80}},
		Pools: []model.Pool{{Name: "p", Servers: []model.Server{{Host: "b", Port: 80, HealthCheck: &model.HealthCheck{Request: model.HealthRequest{Method: "GET", Path: "/up"}}}}}},
		Routes: []model.Route{
			{Path: "/api/", Port: 80, Pool: "p", Auth: &model.Auth{Kind: model.AuthRoute, Target: "/check"}},
			{Path: "/check", Internal: true, Port: 80, Pool: "p", Rules: []model.Rule{{Rewrite: &model.Rewrite{Match: "^/check", Replacement: "/api/check/it"}}}},
		},
	}
	s := scenarios.Scenario{Name: "s"}
	p, err := s.Plan(cfg, []plan.Spec{{Name: "b", Role: plan.Backend, Ports: []int{80}}, {Name: "auth", Role: plan.Backend, Ports: []int{80}, Helper: true}})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(p.Specs[0].Command, " "), "--prefixes /api,/check,/api/check/it --health-paths /up,/api/check/it")
	assert.Contains(t, p.Specs[1].Command, "--helper")
}

func TestScenarioNamesChecks(t *testing.T) {
	s := scenarios.Scenario{File: "s.yaml", Name: "s", Checks: []plan.Check{"weather"}}
	_, err := s.Plan(model.Config{Files: []model.File{{Name: "x.conf"}}, Listeners: []model.Listener{{Port: 80}}}, nil)
	assert.ErrorContains(t, err, `s.yaml: checks: "weather" is not a check; lbproof list checks shows them`)
}

// An adapted fault is extended to the configured detection time, and its phase to all occurrences.
func TestAdapted(t *testing.T) {
	f := func(config string, during, apart time.Duration) {
		t.Helper()
		s, err := scenarios.Read(scenarios.BuiltIn, "failover.yaml")
		require.NoError(t, err)
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, config, "")
		require.NoError(t, err)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err)
		plan, err := s.Plan(cfg, specs)
		require.NoError(t, err)
		require.Len(t, plan.Events, 10)
		for i, e := range plan.Events[1:] {
			assert.Equal(t, during, e.Duration)
			assert.GreaterOrEqual(t, e.At-plan.Events[i].At, apart)
		}
		last := plan.Phases[len(plan.Phases)-1]
		assert.Greater(t, float64(last.Count)/last.Rate, (plan.Events[9].At + apart).Seconds())
	}
	f("nginx/weighted", 8*time.Second, 13*time.Second)
	f("haproxy/weighted", 8*time.Second, 14*time.Second)
	f("traefik/order-api", 12*time.Second, 24*time.Second)
	f("nginx/order-api", 8*time.Second, 33*time.Second)
}

// A dependency is a node, whose address the backends get.
func TestNeeds(t *testing.T) {
	p, err := fixtures.Plan("dependency")
	require.NoError(t, err)
	last := p.Specs[len(p.Specs)-1]
	assert.Equal(t, "redis@lbproof", last.Name)
	assert.Equal(t, []string{"redis.lbproof.internal", "redis"}, last.Hosts(), "programs in the configuration use the short name")
	assert.Equal(t, plan.Dependency, last.Role)
	assert.Contains(t, strings.Join(p.Specs[1].Command, " "), "--postgres postgres.lbproof.internal:5432 --redis redis.lbproof.internal:6379")
	assert.Equal(t, "back-01", p.Events[0].Peer, "a backend verifies the fault")
}
