package main

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

// Every plan that lbproof makes is one that it carries out, and says the same when it is read again.
func TestPlansAreReadAgain(t *testing.T) {
	targets := scenarios.List()
	for _, name := range lbconfigs.Names() {
		targets = append(targets, builtIn+name)
	}
	file := filepath.Join(t.TempDir(), "plan.json")
	for _, target := range targets {
		plan, err := readTarget(target, input{balancers: 1})
		require.NoError(t, err, target)
		text, err := json.Marshal(plan)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
		again, err := readPlan(file)
		require.NoError(t, err, target)
		require.NoError(t, again.Validate(), target)
		same, err := json.Marshal(again)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(same), target)
	}
}

// A configuration of many servers is planned in seconds. It took minutes while each promise looked at all routes for each route.
func TestPlanOfManyServers(t *testing.T) {
	began := time.Now()
	plan, err := readTarget(sites(t, 300), input{balancers: 1})
	require.NoError(t, err)
	assert.Len(t, plan.Config.Routes, 300)
	assert.Less(t, time.Since(began), 30*time.Second)
}

// What a plan from elsewhere may not say is refused before anything is done, with the file and the place in it.
func TestHostilePlans(t *testing.T) {
	p, err := readTarget("baseline", input{balancers: 1})
	require.NoError(t, err)
	text, err := json.MarshalIndent(p, "", "  ")
	require.NoError(t, err)
	f := func(old, replacement, want string) {
		t.Helper()
		changed := strings.Replace(string(text), old, replacement, 1)
		require.NotEqual(t, string(text), changed)
		name := filepath.Join(t.TempDir(), "plan.json")
		require.NoError(t, os.WriteFile(name, []byte(changed), 0o600))
		_, err := readTarget(name, input{balancers: 1})
		assert.ErrorContains(t, err, strings.ReplaceAll(want, "plan.json", name))
	}
	f(`"packages": [`, `"packages": ["-o", "DPkg::Pre-Invoke::=id",`, `plan.json: specs[0].image.packages[0]: "-o" is no name of a Debian package`)
	f(`"name": "baseline"`, `"name": "../../baseline"`, `plan.json: name: "../../baseline" is no plain name`)
	f(`"name": "baseline"`, `"nane": "baseline"`, `plan.json: unknown field "nane": it is no field of a plan`)
	f(`"alpha": 0.001,`, `"alpha": "0.001",`, `plan.json:4: alpha: a JSON string cannot be a float64`)
	f(`"alpha": 0.001,`, `"alpha": 0.001`, `plan.json:5: this is no JSON: invalid character`)
	f(`"schema": "lbproof.plan/1"`, `"schema": "lbproof.plan/0"`, `plan.json: schema "lbproof.plan/0" is not lbproof.plan/1`)
	f(`"alpha": 0.001,`, `"alpha": 0.001,`+strings.Repeat(" ", plan.PlanSize), `read plan plan.json: the file has more than 64 MiB`)
}
