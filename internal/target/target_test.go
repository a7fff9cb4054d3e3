package target

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// Every plan that lbproof makes is valid and survives writing and reading.
func TestPlansRoundTrip(t *testing.T) {
	targets := scenarios.List()
	for _, name := range lbconfigs.Names() {
		targets = append(targets, BuiltInPrefix+name)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	for _, name := range targets {
		first, err := Reader{Balancers: 1}.Plan(name)
		require.NoError(t, err, name)
		text, err := json.Marshal(first)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		again, err := readPlan(file)
		require.NoError(t, err, name)
		require.NoError(t, again.Validate(), name)
		same, err := json.Marshal(again)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(same), name)
	}
}

// A harmful plan from elsewhere is rejected with the file and the place in it.
func TestHostilePlans(t *testing.T) {
	p, err := Reader{Balancers: 1}.Plan("baseline")
	require.NoError(t, err)
	text, err := json.MarshalIndent(p, "", "  ")
	require.NoError(t, err)
	f := func(old, replacement, want string) {
		t.Helper()
		changed := strings.Replace(string(text), old, replacement, 1)
		require.NotEqual(t, string(text), changed)
		name := filepath.Join(t.TempDir(), "plan.json")
		require.NoError(t, os.WriteFile(name, []byte(changed), 0o600))
		_, err := Reader{Balancers: 1}.Plan(name)
		assert.ErrorContains(t, err, strings.ReplaceAll(want, "plan.json", name))
	}
	f(`"packages": [`, `"packages": ["-o", "DPkg::Pre-Invoke::=id",`, `plan.json: specs[0].image.packages[0]: "-o" is not the name of a Debian package`)
	f(`"name": "baseline"`, `"name": "../../baseline"`, `plan.json: name: "../../baseline" is not a plain name`)
	f(`"name": "baseline"`, `"nane": "baseline"`, `plan.json: unknown field "nane"; lbproof plan prints a plan with all fields`)
	f(`"alpha": 0.001,`, `"alpha": "0.001",`, `plan.json:4: alpha: got a JSON string, want float64`)
	f(`"alpha": 0.001,`, `"alpha": 0.001`, `plan.json:5: invalid JSON: invalid character`)
	f(`"schema": "lbproof.plan/3"`, `"schema": "lbproof.plan/0"`, `plan.json: schema "lbproof.plan/0" is not supported (want lbproof.plan/3)`)
	f(`"alpha": 0.001,`, `"alpha": 0.001,`+strings.Repeat(" ", plan.MaxPlanSize), `read plan plan.json: larger than 64 MiB`)
}

// Flags that do not apply to the argument, and arguments that name nothing, are rejected.
func TestWrongArguments(t *testing.T) {
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("nginx.conf", []byte("events {}\nhttp { server { listen 80; return 204; } }\n"), 0o600))
	require.NoError(t, os.WriteFile("plan.json", []byte("{}"), 0o600))
	f := func(name string, r Reader, want string) {
		t.Helper()
		if r.Balancers == 0 {
			r.Balancers = 1
		}
		_, err := r.Plan(name)
		require.Error(t, err)
		assert.Contains(t, err.Error(), want)
	}
	f("baseline", Reader{Scenario: "spike"}, `--scenario: can only be used with a configuration, not with the scenario "baseline"`)
	f("plan.json", Reader{Scenario: "spike"}, `--scenario: can only be used with a configuration, not with the plan "plan.json"`)
	f("plan.json", Reader{PhaseDuration: 1}, "--for: cannot be used with the plan plan.json")
	f("nginx.conf", Reader{PhaseDuration: time.Minute}, "--for 1m: needs a scenario; add --scenario")
	f("nginx.conf", Reader{Balancers: -1}, "--balancers -1: must be at least 1")
	f("nginx.conf", Reader{Scenario: "nothing"}, `--scenario "nothing": no such scenario; scenarios: alerts, `)
	f("nothing", Reader{}, `"nothing" is neither a scenario nor a file; scenarios: alerts, `)
	f("nginx.conf/x", Reader{}, "read nginx.conf/x: not a directory")
	f("baseline", Reader{Balancers: 2}, "--balancers: can only be used with a configuration")
	f("builtin:nginx/nothing", Reader{}, "builtin:nginx/nothing: not a built-in configuration; lbproof list configurations shows them")
}

func TestRunName(t *testing.T) {
	f := func(file, want string) {
		t.Helper()
		assert.Equal(t, want, RunName(file))
	}
	f("/etc/nginx/nginx.conf", "nginx")
	f("builtin:nginx/order-api", "order-api")
	f("My Sites.v2.cfg", "my-sites-v2")
	f("...", "configuration")
}

func TestProbeHeader(t *testing.T) {
	f := func(want map[string]string, header ...string) {
		t.Helper()
		got, err := Reader{Header: header}.ProbeHeader()
		if want == nil {
			assert.Error(t, err)
			return
		}
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	f(map[string]string{})
	f(map[string]string{"X-Key": "a: b", "Cookie": "c"}, "x-key:a: b", " Cookie : c ")
	f(nil, "X-Key")
	f(nil, ": a")
	f(nil, "X-Key:")
	f(nil, "X-Key: a\r\nX-Other: b")
	f(nil, "host: a")
	f(nil, "X-Key: a", "x-key: b")
}
