package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
)

// The tests in this file inject faults into the real stack. They need Docker; go test -short skips them.

// lanes assigns every fault a backend and a time, with a gap between the faults of one backend.
func lanes(all []faults.Fault, gap time.Duration) (events []string, last time.Duration) {
	free := make([]time.Duration, 4) // the last is the balancer's
	for _, f := range all {
		lane := slices.Index(free, slices.Min(free[:3]))
		target := fmt.Sprintf("back-0%d", lane+1)
		if !slices.Contains(f.Roles, plan.Backend) {
			lane, target = 3, "balancer"
		}
		with, during := "", time.Second
		switch f.Name {
		case "crash-loop":
			with, during = ", with: {up: 300ms, down: 300ms}", 3*time.Second
		case "drain":
			with = ", with: {notice: 200ms}"
		case "flap":
			with, during = ", with: {every: 1s, failing: 500ms}", 3*time.Second
		case "memory":
			during = 10 * time.Second // its container needs this long to restart
		}
		at := free[lane] + 500*time.Millisecond
		events = append(events, fmt.Sprintf("  - {fault: %s, target: %s, at: %dms, for: %dms%s}",
			f.Name, target, at.Milliseconds(), during.Milliseconds(), with))
		free[lane] += during + gap
		last = max(last, free[lane])
	}
	return events, last
}

// plainFaults returns the faults that need no TLS.
func plainFaults() []faults.Fault {
	return slices.DeleteFunc(slices.Clone(faults.All), func(f faults.Fault) bool { return f.NeedsTLS })
}

func faultScenario(events []string, last time.Duration) string {
	const form = `name: faults
doc: faults
config: builtin:nginx/weighted
checks: [once]
faults:
%s
phases:
  - name: load
    rate: 100
    for: %ds
    timeout: 5s
    send: [{path: /}]
`
	return fmt.Sprintf(form, strings.Join(events, "\n"), int(last.Seconds())+1)
}

// In one run with traffic, every fault is observed, healed, and no longer observed.
func TestEveryFaultTakesEffect(t *testing.T) {
	t.Parallel()
	folder, r, _ := runScenario(t, faultScenario(lanes(plainFaults(), 3500*time.Millisecond)))
	require.Len(t, r.Env.Faults, len(plainFaults()))
	for _, m := range r.Env.Faults {
		assert.Empty(t, m.Err, m.Event.Fault)
		assert.LessOrEqual(t, m.RequestedAt, m.StartsAfter, m.Event.Fault)
		assert.LessOrEqual(t, m.StartsAfter, m.StartsBy, m.Event.Fault)
		assert.Less(t, m.StartsBy, m.EndsBy, m.Event.Fault)
	}
	assert.Empty(t, r.Delivery.Note, "no arrival is lost, though backends were killed")
	journal, err := os.ReadFile(filepath.Join(folder, "journal.jsonl"))
	require.NoError(t, err)
	assert.Equal(t, 2*len(plainFaults()), strings.Count(string(journal), "\n"), "each is injected and healed")
}

// If lbproof is killed during any fault, nothing is left behind.
func TestKilledDuringEveryFault(t *testing.T) {
	before := interfaces(t)
	t.Run("together", killDuringEveryFault)
	assert.Eventually(t, func() bool { return slices.Equal(before, interfaces(t)) },
		10*time.Second, 100*time.Millisecond, "the machine is as before")
}

func killDuringEveryFault(t *testing.T) {
	t.Helper()
	for three := range slices.Chunk(plainFaults(), 3) {
		var names, events []string
		for i, f := range three {
			names = append(names, string(f.Name))
			target := fmt.Sprintf("back-0%d", i+1)
			if !slices.Contains(f.Roles, plan.Backend) {
				target = "balancer"
			}
			with := ""
			if f.Name == "drain" {
				with = ", with: {notice: 200ms}"
			}
			events = append(events, fmt.Sprintf("  - {fault: %s, target: %s, at: 0s, for: 30s%s}", f.Name, target, with))
		}
		t.Run(strings.Join(names, ","), func(t *testing.T) {
			t.Parallel()
			killDuringFaults(t, faultScenario(events, time.Minute), len(three))
		})
	}
	t.Run("certificate,pause of a dependency", func(t *testing.T) {
		t.Parallel()
		text := faultScenario([]string{
			"  - {fault: certificate, target: balancer, at: 0s, for: 30s}",
			"  - {fault: certificate, target: cat-1, at: 0s, for: 30s}",
			"  - {fault: pause, target: redis, at: 0s, for: 30s}",
		}, time.Minute)
		killDuringFaults(t, strings.Replace(text, "builtin:nginx/weighted", "builtin:nginx/tls\nneeds: [redis]", 1), 3)
	})
}

// killDuringFaults kills lbproof once n faults are in force.
func killDuringFaults(t *testing.T, scenario string, n int) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte(scenario), 0o644))
	p := start(t, dir, "test", "scenario.yaml")
	for range n {
		p.until(t, "in force: ")
	}
	require.NoError(t, p.cmd.Process.Kill())
	p.nothingLeft(t, time.Minute)
	journals, err := filepath.Glob(filepath.Join(dir, "lbproof-runs", "*", "journal.jsonl"))
	require.NoError(t, err)
	require.Len(t, journals, 1)
	journal, err := os.ReadFile(journals[0])
	require.NoError(t, err)
	assert.Equal(t, n, strings.Count(string(journal), `"action":"inject"`), "the journal has each fault before it is injected")
}

const trustScenario = `
name: trust
doc: outage and return of a dependency; invalid certificates
config: builtin:nginx/tls
needs: [postgres, redis]
checks: [once]
faults:
  - {fault: kill, target: redis, phase: outage, at: 0s, for: 2500ms}
  - {fault: certificate, target: last server, phase: back, at: 0s, for: 2s, with: {flaw: issuer}}
  - {fault: certificate, target: balancer, phase: untrusted, at: 0s, for: 8s, with: {flaw: name}}
phases:
  - &probe
    name: before
    rate: 20
    for: 1s
    verify: true
    fresh-connections: true
    full-handshakes: true
    send: [{path: /ready}]
    expect: [errors == 0]
  - {name: outage, rate: 20, for: 1500ms, send: [{path: /ready}]}
  - {<<: *probe, name: down, expect: ["requests{status: 503} == 100%"]}
  - {name: return, rate: 20, for: 3s, send: [{path: /ready}]}
  - {<<: *probe, name: back, for: 3s}
  - {name: untrusted, rate: 20, for: 5s, send: [{path: /}]}
  - {<<: *probe, name: rejected, for: 500ms, expect: [errors == 100%]}
  - {<<: *probe, name: no verification, for: 500ms, verify: false, send: [{path: /}]}
`

// The backends report an outage of Redis. A balancer that verifies certificates sends nothing to a server with an
// invalid one, and clients that verify them fail with an invalid one of the balancer.
func TestTrust(t *testing.T) {
	t.Parallel()
	_, r, code := runScenario(t, trustScenario)
	for _, m := range r.Env.Faults {
		assert.Empty(t, m.Err, m.Event.Fault)
	}
	require.Len(t, r.Env.Faults, 3)
	assert.Contains(t, r.Env.Faults[1].Observed, "unknown authority")
	assert.Contains(t, r.Env.Faults[2].Observed, "valid for another.lbproof.test")
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckExpect {
			assert.Equal(t, report.Upheld, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
		}
	}
	assert.Zero(t, code)
}

// interfaces returns the names of the machine's network interfaces.
func interfaces(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	require.NoError(t, err)
	var names []string
	for _, one := range all {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names
}

const outageScenario = `
name: outage
doc: one outage
config: builtin:traefik/weighted
checks: [active, retries, once]
faults:
  - {fault: kill, target: last server, at: 1s, for: 3s}
phases:
  - name: load
    rate: 200
    for: 8s
    send: [{path: /}]
`

// The times of an outage and a recovery are measured; one outage is too few to decide the health checks.
func TestOutageIsTimed(t *testing.T) {
	_, r, code := runScenario(t, outageScenario)
	assert.Equal(t, 3, code)
	for _, v := range r.Verdicts {
		if v.Claim.Check != plan.CheckActive {
			continue
		}
		assert.Equal(t, report.Undecided, v.Outcome)
		assert.Equal(t, 1, v.N)
		assert.Equal(t, 3, v.Need)
		assert.Regexp(t, `^out after [012]\.\d\d–[012]\.\d\d s, back after [012]\.\d\d–[012]\.\d\d s`, v.Measured)
	}
}

func TestImpossibleFaultsAreRejected(t *testing.T) {
	f := func(want, fault string) {
		t.Helper()
		dir := t.TempDir()
		text := "name: x\ndoc: x\nconfig: builtin:nginx/weighted\nfaults:\n  - " + fault +
			"\nphases: [{name: load, requests: 1, concurrency: 1, send: [{path: /}]}]\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, "scenario.yaml"), []byte(text), 0o644))
		p := start(t, dir, "plan", "scenario.yaml")
		assert.Equal(t, 2, p.wait(t))
		assert.Contains(t, p.stderr.String(), "scenario.yaml:5: "+want)
	}
	f("hang: cannot be applied to nginx@lbproof, a balancer; it is for backends",
		"{fault: hang, target: balancer, at: 1s, for: 1s}")
	f(`target: "back-09" is not a node of the run; did you mean back-01?`,
		"{fault: kill, target: back-09, at: 1s, for: 1s}")
	f(`fault: "earthquake" is not a fault; lbproof list faults shows them`,
		"{fault: earthquake, target: back-01, at: 1s, for: 1s}")
	f(`latency: delay: "soon" is not a duration; write e.g. 50ms`,
		"{fault: latency, target: back-01, at: 1s, for: 1s, with: {delay: soon}}")
	f(`phase: "later" is not a phase of the scenario; known: probes, load`,
		"{fault: kill, target: back-01, phase: later, at: 1s, for: 1s}")
	f(`peer: "back-01" is not another node of the run`,
		"{fault: refuse, target: back-01, peer: back-01, at: 1s, for: 1s}")
}
