package lbproof_test

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/lbproof/lbproof/"

// room is which of our packages a package may import, and whether it is pure: a pure package reads no file and opens no
// connection. Everything right of the history is pure.
type room struct {
	pure    bool
	imports []string
}

func pure(imports ...string) room { return room{true, imports} }

func acts(imports ...string) room { return room{false, imports} }

// rooms are the packages. A new import is one more name here, with its reason.
var rooms = map[string]room{
	// The four documents: plain data, the standard library only.
	"internal/model":   pure(),
	"internal/plan":    pure("internal/model"),
	"internal/history": pure("internal/model", "internal/plan"),
	"internal/report":  pure("internal/history", "internal/model", "internal/plan"),

	"internal/plain": pure(), // text of others
	"internal/stats": pure(), // plain numbers
	"internal/units": pure(), // numbers as text
	"internal/sleep": pure(), // nothing but time

	"backends":        acts("internal/sleep"),                                      // a service that stands in for a real one
	"internal/source": acts("internal/model"),                                      // a name in, a file out
	"internal/load":   acts("internal/history", "internal/plan", "internal/sleep"), // a phase in, hits out
	"internal/agent":  acts("backends", "internal/sleep"),                          // backends: the clock that all containers share
	// Specs in, Nodes out, on any runtime. It controls agents, and backends by their environment.
	"internal/stack": acts("backends", "internal/agent", "internal/history", "internal/model", "internal/plan", "internal/sleep"),
	// The runtime of containers implements the interfaces of stack.
	"internal/stack/docker": acts("internal/history", "internal/model", "internal/plan", "internal/sleep", "internal/stack"),
	// A plan in, a history out. backends: the worker reads their ledgers; agent: its observations; stats: stop rules.
	"internal/run": acts("backends", "internal/agent", "internal/faults", "internal/folder", "internal/history",
		"internal/load", "internal/model", "internal/plan", "internal/sleep", "internal/stack", "internal/stats"),
	// A history in, a folder out, and back.
	"internal/folder": acts("internal/history", "internal/model", "internal/plan", "internal/source"),
	// An Event in. stack: faults break its nodes, and control agents and services.
	"internal/faults": acts("backends", "internal/agent", "internal/model", "internal/plan", "internal/sleep", "internal/stack"),

	"lbconfigs": acts("internal/model", "internal/plan", "internal/report", "internal/units", "lbconfigs/haproxy", "lbconfigs/nginx", "lbconfigs/reading", "lbconfigs/traefik"), // a file in, a Config out
	// Code that readers share. plan: the Spec that runs a balancer.
	"lbconfigs/reading": acts("internal/model", "internal/plan", "internal/source", "internal/units"),
	"lbconfigs/nginx":   acts("internal/model", "internal/plan", "internal/units", "lbconfigs/reading"),
	"lbconfigs/haproxy": acts("internal/model", "internal/plan", "internal/units", "lbconfigs/reading"),
	"lbconfigs/traefik": acts("internal/model", "internal/plan", "lbconfigs/reading"),
	// A Config and its claims in, changed files out.
	"lbconfigs/mutations": acts("internal/model", "internal/plan", "lbconfigs", "lbconfigs/reading"),
	// Helpers for the tests of balancers; no program imports it.
	"lbconfigs/balancertest": acts("internal/model", "internal/plan", "lbconfigs", "lbconfigs/mutations", "scenarios/checks"),
	// A reader that tests add to the table.
	"lbconfigs/balancertest/toy": acts("internal/model", "internal/plan", "lbconfigs/reading"),
	// A Report in, text out.
	"reports": pure("internal/history", "internal/model", "internal/plain", "internal/plan", "internal/report", "internal/units"),

	// A History in, Findings out. The table of checks sees the families, and no family sees another or the table.
	"scenarios/checks": pure("internal/history", "internal/model", "internal/plan", "internal/report", "internal/stats", "internal/units",
		"scenarios/checks/check", "scenarios/checks/distribution", "scenarios/checks/failover", "scenarios/checks/limits",
		"scenarios/checks/requests", "scenarios/checks/traffic"),
	// Helpers for the tests of checks; no program imports it.
	"scenarios/checks/checkstest": acts("fixtures", "internal/history", "internal/plan", "internal/report", "scenarios/checks",
		"scenarios/checks/check"),
	"scenarios/checks/check":  pure("internal/history", "internal/model", "internal/plan", "internal/stats", "internal/units"),
	"scenarios/checks/outage": pure("internal/history", "internal/model", "internal/plan", "scenarios/checks/check"),
	"scenarios/checks/distribution": pure("internal/history", "internal/model", "internal/plan", "internal/stats", "internal/units",
		"scenarios/checks/check", "scenarios/checks/outage"),
	"scenarios/checks/failover": pure("internal/history", "internal/model", "internal/plan", "internal/stats", "internal/units",
		"scenarios/checks/check", "scenarios/checks/outage"),
	"scenarios/checks/limits": pure("internal/history", "internal/model", "internal/plan", "internal/stats", "internal/units",
		"scenarios/checks/check", "scenarios/checks/outage"),
	"scenarios/checks/requests": pure("internal/history", "internal/model", "internal/plan", "internal/units", "scenarios/checks/check",
		"scenarios/checks/outage"),
	"scenarios/checks/traffic": pure("internal/history", "internal/model", "internal/plan", "internal/report", "internal/stats",
		"internal/units", "scenarios/checks/check", "scenarios/checks/outage"),
	// Claims in, phases of a plan out.
	"scenarios/experiments": pure("internal/model", "internal/plan", "internal/stats", "internal/units", "scenarios", "scenarios/checks",
		"scenarios/checks/check"),
	// stats: how many probes a claim needs.
	"scenarios": acts("internal/model", "internal/plan", "internal/source", "internal/stats", "internal/faults", "internal/units",
		"scenarios/checks"),

	// A configuration in, the lines that no experiment tests out. checks: the promises of a line; run, stack: refusals.
	"internal/prove": acts("internal/folder", "internal/model", "internal/plan", "internal/report", "internal/run",
		"internal/source", "internal/stack", "lbconfigs/mutations", "scenarios/checks"),
	// A name in, a Plan out. It is below cmd, and above source, which does not know scenarios.
	"internal/target": acts("internal/model", "internal/plan", "internal/source", "internal/units", "lbconfigs", "scenarios",
		"scenarios/checks", "scenarios/experiments"),
	// Simulated runs of the built-in plans. No check: expectations of balancers are written down again as data.
	"fixtures": acts("internal/history", "internal/model", "internal/plan", "internal/stats", "lbconfigs", "scenarios",
		"scenarios/experiments"),
	// The laws against simulated and recorded runs.
	"tools/calibrate": acts("fixtures", "internal/history", "internal/model", "internal/plan", "internal/report", "internal/folder", "internal/stats", "scenarios/checks"),
	// Compares our engines with other load generators.
	"tools/peers": acts("internal/history", "internal/load", "internal/plan", "internal/folder"),
	// The verbs.
	"cmd/lbproof": acts("backends", "internal/agent", "internal/faults", "internal/folder", "internal/history",
		"internal/model", "internal/plain", "internal/plan", "internal/prove", "internal/report", "internal/run",
		"internal/sleep", "internal/stack", "internal/stack/docker", "internal/target", "internal/units", "lbconfigs", "lbconfigs/mutations", "reports",
		"scenarios",
		"scenarios/checks", "scenarios/checks/check", "scenarios/experiments"),
}

func TestArrows(t *testing.T) {
	imports := readImports(t)
	for dir, imported := range imports {
		here, known := rooms[dir]
		if !assert.True(t, known, "the package %s is not in the table: add it with what it may import", dir) {
			continue
		}
		for _, i := range imported {
			if ours, ok := strings.CutPrefix(i, module); ok {
				assert.Contains(t, here.imports, ours, "%s imports %s, which the table does not allow", dir, ours)
			}
			if here.pure {
				assert.NotContains(t, []string{"os", "net", "net/http"}, i, "%s imports %s and is no longer pure", dir, i)
			}
			if strings.HasPrefix(i, "gonum.org/") {
				assert.Equal(t, "internal/stats", dir, "only stats uses gonum")
			}
			if ofDocker(i) {
				assert.Equal(t, "internal/stack/docker", dir, "%s is imported: only internal/stack/docker speaks with an engine", i)
			}
		}
	}
	for dir, here := range rooms {
		if assert.Contains(t, imports, dir, "the table names a package that is not there") {
			for _, i := range here.imports {
				assert.True(t, slices.Contains(imports[dir], module+i), "%s does not import %s: the table need not allow it", dir, i)
			}
		}
	}
}

// ofDocker reports whether a package is a client library of a container engine. Tests may import them.
func ofDocker(name string) bool {
	return slices.ContainsFunc([]string{
		"github.com/testcontainers/", "github.com/moby/", "github.com/docker/docker/", "github.com/docker/go-connections/", "github.com/containerd/",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// readImports lists the imports of the non-test files in each folder.
func readImports(t *testing.T) map[string][]string {
	imports := map[string][]string{}
	eachFile(t, func(name string, file *ast.File, _ func(ast.Node) string) {
		for _, i := range file.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			imports[path.Dir(name)] = append(imports[path.Dir(name)], text)
		}
	})
	return imports
}
