package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/stack/docker"
	"github.com/lbproof/lbproof/internal/target"
)

// The tests in this file run the built program with the real engine and balancers, as a user would. They need Docker;
// go test -short skips them.

// binary builds lbproof with the flags of make build, to reuse its build cache.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "lbproof-test-")
	if err != nil {
		return "", err
	}
	built := filepath.Join(dir, "lbproof")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build lbproof: %w: %s", err, out)
	}
	return built, nil
})

// process is a running lbproof.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	lines          chan string // of standard error, as they arrive
	run            atomic.Value
	temporary      string // its directory for temporary files
	done           chan struct{}
}

// start starts lbproof in a folder.
func start(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	program, err := binary()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(program, args...), lines: make(chan string, 1000), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.temporary = t.TempDir()
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.temporary)
	p.cmd.Stdout = &p.stdout
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.done)
		defer close(p.lines)
		for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
			fmt.Fprintln(&p.stderr, scanner.Text())
			if _, id, ok := strings.Cut(scanner.Text(), "starting the stack of run "); ok {
				p.run.Store(id)
			}
			p.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// wait waits until lbproof exits and returns the exit code.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	<-p.done
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// until reads standard error up to a line with a text.
func (p *process) until(t *testing.T, text string) {
	t.Helper()
	for line := range p.lines {
		if strings.Contains(line, text) {
			return
		}
	}
	t.Fatalf("lbproof exited before it printed %q:\n%s", text, p.stderr.String())
}

// engineAPI returns a client of the engine.
func engineAPI(t *testing.T) *client.Client {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	cli, err := client.New(client.FromEnv)
	require.NoError(t, err)
	t.Cleanup(func() { cli.Close() })
	return cli
}

// labelled lists the containers and networks of the process's run.
func (p *process) labelled(t *testing.T, cli *client.Client) []string {
	t.Helper()
	id, ok := p.run.Load().(string)
	require.True(t, ok, "the process has printed no run ID")
	mine := make(client.Filters).Add("label", "lbproof.run="+id)
	containers, err := cli.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: mine})
	require.NoError(t, err)
	networks, err := cli.NetworkList(t.Context(), client.NetworkListOptions{Filters: mine})
	require.NoError(t, err)
	var out []string
	for _, c := range containers.Items {
		out = append(out, "container "+c.Labels["lbproof.node"])
	}
	for _, n := range networks.Items {
		out = append(out, "network "+n.Name)
	}
	return out
}

// nothingLeft asserts that nothing of the run is left within a time; 0: now.
func (p *process) nothingLeft(t *testing.T, within time.Duration) {
	t.Helper()
	cli := engineAPI(t)
	left := p.labelled(t, cli)
	for began := time.Now(); len(left) > 0 && time.Since(began) < within; {
		left = p.labelled(t, cli)
	}
	assert.Empty(t, left, "left behind after %s", within)
}

// containerOf returns the container of a node of the current run.
func (p *process) containerOf(t *testing.T, cli *client.Client, node string) string {
	t.Helper()
	mine := make(client.Filters).Add("label", "lbproof.run="+p.run.Load().(string)).Add("label", "lbproof.node="+node)
	found, err := cli.ContainerList(t.Context(), client.ContainerListOptions{Filters: mine})
	require.NoError(t, err)
	require.Len(t, found.Items, 1, node)
	return found.Items[0].ID
}

// reportOf reads the only run folder below dir.
func reportOf(t *testing.T, dir string) (folder string, r report.Report) {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(dir, "lbproof-runs", "*"))
	require.NoError(t, err)
	require.Len(t, folders, 1)
	text, err := os.ReadFile(filepath.Join(folders[0], "report.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &r))
	return folders[0], r
}

func TestBaselineIsUpheld(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "test", "baseline")
	require.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	assert.Regexp(t, `^baseline on nginx [0-9.]+: 13 upheld, 11 not evaluated \([0-9]+s\)\n`, p.stdout.String())
	assert.NotContains(t, p.stdout.String(), "\x1b[", "no colours without a terminal")
	p.nothingLeft(t, 0)
	folder, r := reportOf(t, dir)
	for _, v := range r.Verdicts {
		if v.NotEvaluated {
			assert.Equal(t, report.Undecided, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
			continue
		}
		assert.Equal(t, report.Upheld, v.Outcome, "%s: %s", v.Claim.ID, v.Reason)
		assert.GreaterOrEqual(t, v.N, v.Need, v.Claim.ID)
	}
	assert.Contains(t, r.Env.Balancer, "nginx/")
	assert.Len(t, r.Env.Nodes, 5)
	assert.Positive(t, r.Env.Workers)
	for _, p := range r.Phases {
		assert.Zero(t, p.Errors, p.Name)
	}
	t.Run("the folder alone gives the same verdicts", func(t *testing.T) { assertJudgedAlike(t, folder) })
	t.Run("logs are kept", func(t *testing.T) {
		logged := map[string]string{"back-01": `"msg":"listening"`, "nginx@lbproof": "POST /models", plan.WorkerName: ""}
		for node, want := range logged {
			log, err := os.ReadFile(filepath.Join(folder, "logs", node+".log"))
			require.NoError(t, err)
			assert.Contains(t, string(log), want)
		}
	})
}

func assertJudgedAlike(t *testing.T, folder string) {
	files := []string{"report.json", "junit.xml"}
	before := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(folder, f))
		require.NoError(t, err)
		before[f] = string(text)
		require.NoError(t, os.Remove(filepath.Join(folder, f)))
	}
	p := start(t, folder, "judge", ".")
	require.Equal(t, 0, p.wait(t), p.stderr.String())
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(folder, f))
		require.NoError(t, err)
		assert.Equal(t, before[f], string(text), f)
	}
	p = start(t, folder, "report", ".", "--format", "json")
	require.Equal(t, 0, p.wait(t), p.stderr.String())
	assert.Equal(t, before["report.json"], p.stdout.String())
}

// realMutants are the built-in configuration or stack with one thing broken. They run on the real balancer and are
// judged by the promises of the original file.
var realMutants = []struct {
	name, refutes string
	edit          func(*plan.Plan)
}{
	{"weights 1:2:2", "weights", replace("weight=3", "weight=2")},
	{"servers chosen by address", "weights", replace("upstream backend {", "upstream backend { ip_hash;")},
	{"1 % refused by the balancer", "answered", func(p *plan.Plan) {
		replace("http {", `http { split_clients $request_id $bad { 1% 1; * ""; }`)(p)
		replace("proxy_pass http://backend;", "if ($bad) { return 503; } proxy_pass http://backend;")(p)
	}},
	{"POST mirrored", "once", replace("location / {",
		"location = /copy { internal; proxy_pass http://backend/models; } location / { mirror /copy;")},
	{"X-Real-IP copied from the client", "headers", replace("X-Real-IP $remote_addr", "X-Real-IP $http_x_real_ip")},
	{"X-Forwarded-For replaced", "headers", replace("$proxy_add_x_forwarded_for", "$remote_addr")},
	{"static response proxied", "endpoint", replace(`return 200 "healthy\n";`, "proxy_pass http://backend;")},
	{"bodies that outgrow a memory limit of 20 MiB", "restarts", func(p *plan.Plan) {
		for i := range p.Specs {
			if p.Specs[i].Name == "back-01" {
				p.Specs[i].Memory = 20 << 20
			}
		}
		p.Phases[1].Count = 300
		p.Phases[1].Requests[0].Body = model.Bytes(`{"name": "` + strings.Repeat("x", 900_000) + `"}`)
	}},
}

func replace(old, replacement string) func(*plan.Plan) {
	return func(p *plan.Plan) {
		for i, f := range p.Config.Files {
			if text := string(f.Content); strings.Contains(text, old) {
				p.Config.Files[i] = model.NewFile(f.Name, []byte(strings.Replace(text, old, replacement, 1)))
				return
			}
		}
		panic("the configuration has no " + old)
	}
}

func TestRealMutantsAreRefuted(t *testing.T) {
	for _, m := range realMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			plan, err := target.Reader{Balancers: 1}.Plan("baseline")
			require.NoError(t, err)
			plan.Phases = plan.Phases[:2] // the closed loop is enough
			m.edit(&plan)
			text, err := json.Marshal(plan)
			require.NoError(t, err)
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "plan.json"), text, 0o600))
			p := start(t, dir, "test", "plan.json")
			code := p.wait(t)
			require.Equal(t, 1, code, "%s\n%s", p.stderr.String(), p.stdout.String())
			_, r := reportOf(t, dir)
			refuted := map[string]bool{}
			for _, v := range r.Verdicts {
				if v.Outcome == report.Refuted {
					refuted[string(v.Claim.Check)] = true
					t.Logf("%s: %s", v.Claim.ID, v.Reason)
				}
			}
			assert.True(t, refuted[m.refutes], "refuted: %v", refuted)
		})
	}
}

func TestRefusedConfigurationNamesItsLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "events {}\nhttp {\n  upstream u { server a; server b; }\n  gzip_comp_level 77;\n" +
		"  server { location / { proxy_pass http://u; } }\n}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lb.conf"), []byte(text), 0o600))
	p := start(t, dir, "test", "lb.conf")
	assert.Equal(t, 2, p.wait(t))
	assert.Contains(t, p.stderr.String(), "lbproof: lb.conf:4: refused by nginx -t")
	assert.Contains(t, p.stderr.String(), "value must be between 1 and 9")
	assert.NoDirExists(t, filepath.Join(dir, "lbproof-runs", "lb"))
	left, err := filepath.Glob(filepath.Join(dir, "lbproof-runs", "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing was measured")
	p.nothingLeft(t, 0)
}

func TestInterruptPrintsPartialReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "test", "baseline")
	p.until(t, "open loop")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	assert.Equal(t, 4, p.wait(t), p.stderr.String())
	assert.Contains(t, p.stdout.String(), "The run was cut short: interrupted")
	assert.NotContains(t, p.stdout.String(), "REFUTED")
	assert.Contains(t, p.stdout.String(), "closed loop")
	p.nothingLeft(t, 0)
}

func TestInterruptedRunIsNoSuccess(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "run", "baseline")
	p.until(t, "closed loop")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	assert.Equal(t, 4, p.wait(t))
	assert.Contains(t, p.stderr.String(), "interrupted: the run was cut short")
	assert.Contains(t, p.stdout.String(), "lbproof-runs/baseline-", "the measurements are kept")
}

func TestInterruptBeforeTraffic(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "test", "baseline")
	p.until(t, "starting the stack")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, 4, p.wait(t))
	assert.Contains(t, p.stderr.String(), "interrupted before any traffic")
	p.nothingLeft(t, 0)
}

// If lbproof is killed while the stack starts or during traffic, the reaper removes everything within 30 s.
func TestKilledLbproofLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"starting the stack", "closed loop"} {
		t.Run(when, func(t *testing.T) {
			cli := engineAPI(t)
			p := start(t, t.TempDir(), "test", "baseline")
			p.until(t, when)
			require.Eventually(t, func() bool { return len(p.labelled(t, cli)) > 1 }, 20*time.Second, time.Millisecond)
			require.NoError(t, p.cmd.Process.Kill())
			began := time.Now()
			p.nothingLeft(t, 30*time.Second)
			t.Logf("nothing left after %s", time.Since(began).Round(time.Millisecond))
			left, err := os.ReadDir(p.temporary)
			require.NoError(t, err)
			assert.Empty(t, left)
		})
	}
}

var kills = flag.Int("kills", 10, "how often TestKilledAtAnyMoment kills a run")

// Whenever lbproof is killed, nothing of the run is left a minute later. Half of the moments are in the first second,
// in which it creates the reaper and the networks.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	cli := engineAPI(t)
	targets := [][]string{
		{"test", "baseline"},
		{"test", "pause"},
		{"test", "builtin:haproxy/weighted"},
		{"test", "builtin:nginx/tls", "--checks", "tls"},
		{"test", "dependency"},
	}
	r := rand.New(rand.NewPCG(1, 2))
	var killed []*process
	for i := range *kills {
		p := start(t, t.TempDir(), targets[i%len(targets)]...)
		moment := time.Duration(r.Float64() * float64(time.Second))
		if i%2 == 1 {
			moment = time.Duration(r.Float64() * float64(10*time.Second))
		}
		select {
		case <-time.After(moment):
		case <-p.done:
		}
		require.NoError(t, p.cmd.Process.Kill())
		<-p.done
		_ = p.cmd.Wait() // it was killed
		if p.run.Load() != nil {
			killed = append(killed, p)
		}
		t.Logf("kill %d after %s: %v", i+1, moment.Round(time.Millisecond), targets[i%len(targets)])
	}
	for _, p := range killed {
		isRemoved := func() bool { return len(p.labelled(t, cli)) == 0 }
		require.Eventually(t, isRemoved, time.Minute, 100*time.Millisecond, "%v", p.cmd.Args)
	}
	t.Logf("nothing left of %d runs", len(killed))
}

// Prometheus loads a scenario's rules and scrapes the backends, and expectations about alerts are judged. Rules that it
// refuses are an error with their file.
func TestPrometheusRules(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("rules.yml", `groups: [{name: a, rules: [
  {alert: Gone, expr: 'up{job="backends"} == 0', for: 1s}, {alert: Never, expr: 'nginx_up{backend="a"} == 0'}]}]`)
	write("watched.yaml", `name: watched
doc: outage of a server
config: builtin:nginx/weighted
checks: [queries]
rules: rules.yml
faults: [{fault: kill, target: back-01, phase: outage, at: 0s, for: 4s}]
phases:
  - {name: calm, rate: 20, for: 4s, send: [{path: /}], expect: [alert Gone is silent]}
  - {name: outage, rate: 20, for: 5s, send: [{path: /}], expect: [alert Gone fires, alert Gone is silent]}
`)
	p := start(t, dir, "test", "watched.yaml")
	require.Equal(t, 1, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	p.nothingLeft(t, 0)
	_, r := reportOf(t, dir)
	outcomes := map[string]report.Outcome{}
	for _, v := range r.Verdicts {
		if !v.NotEvaluated {
			outcomes[v.Claim.ID] = v.Outcome
		}
	}
	assert.Equal(t, map[string]report.Outcome{
		"queries/Gone": report.Upheld, "queries/Never": report.Refuted, "expect/calm#alert Gone is silent": report.Upheld,
		"expect/outage#alert Gone fires": report.Upheld, "expect/outage#alert Gone is silent": report.Refuted,
	}, outcomes)
	write("rules.yml", "groups: [{name: a, rules: [{alert: Gone, expr: stddev_over_time(up)}]}]")
	p = start(t, dir, "test", "watched.yaml")
	assert.Equal(t, 2, p.wait(t))
	assert.Contains(t, p.stderr.String(), "rules.yml: refused by promtool")
	p.nothingLeft(t, 0)
}

// A stack with one balancer and a stack with two run concurrently.
func TestConcurrentRuns(t *testing.T) {
	var both sync.WaitGroup
	for want, args := range map[string][]string{
		"13 upheld":                           {"baseline"},
		"of which traefik-2@lbproof admitted": {"builtin:traefik/limits", "--balancers", "2", "--checks", "limits"},
	} {
		dir := t.TempDir()
		p := start(t, dir, append([]string{"test"}, args...)...)
		both.Go(func() {
			assert.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
			folders, _ := filepath.Glob(filepath.Join(dir, "lbproof-runs", "*", "report.json"))
			if assert.Len(t, folders, 1) {
				text, err := os.ReadFile(folders[0])
				assert.NoError(t, err)
				assert.Contains(t, p.stdout.String()+string(text), want)
			}
			p.nothingLeft(t, 0)
		})
	}
	both.Wait()
}

const membersOnly = `
events {}
http {
    upstream cats { server cat-1:8000; server cat-2:8000; }
    server {
        listen 80;
        auth_basic members;
        auth_basic_user_file users;
        location / { proxy_pass http://cats; }
    }
}
`

// Requests with the right password reach the backends; without one, or with a wrong one, they do not.
func TestHeaderAuthorizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(membersOnly), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users"), []byte("tom:{PLAIN}mouse\n"), 0o644))
	p := start(t, dir, "test", "nginx.conf", "--checks", "answered,auth,weights",
		"--header", "Authorization: Basic dG9tOm1vdXNl")
	assert.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	p.nothingLeft(t, 0)
}

// A container that is killed is a failure of the environment: it is named, and no promise is refuted.
func TestKilledContainerIsNamed(t *testing.T) {
	for _, node := range []string{"nginx@lbproof", "back-02", plan.WorkerName} {
		t.Run(node, func(t *testing.T) {
			t.Parallel()
			cli := engineAPI(t)
			p := start(t, t.TempDir(), "test", "baseline")
			p.until(t, "open loop")
			id := p.containerOf(t, cli, node)
			_, err := cli.ContainerKill(t.Context(), id, client.ContainerKillOptions{Signal: "KILL"})
			require.NoError(t, err)
			assert.Equal(t, 4, p.wait(t), p.stdout.String())
			assert.Contains(t, p.stderr.String(), "container "+node+" exited")
			assert.NotContains(t, p.stdout.String(), "REFUTED")
			p.nothingLeft(t, 0)
		})
	}
}

// No port is published, no container has a route out, and the limits are those of the scenario.
func TestNothingIsPublished(t *testing.T) {
	t.Parallel()
	cli := engineAPI(t)
	p := start(t, t.TempDir(), "test", "baseline")
	p.until(t, "closed loop")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	networks := map[string]bool{}
	for _, node := range []string{"nginx@lbproof", "back-01", "back-02", "back-03", plan.WorkerName} {
		info, err := cli.ContainerInspect(ctx, p.containerOf(t, cli, node), client.ContainerInspectOptions{})
		require.NoError(t, err)
		for port, bound := range info.Container.NetworkSettings.Ports {
			assert.Empty(t, bound, "%s publishes %s", node, port)
		}
		assert.False(t, info.Container.HostConfig.Privileged)
		for name := range info.Container.NetworkSettings.Networks {
			networks[name] = true
		}
		if node == "back-01" {
			assert.Equal(t, int64(125_000_000), info.Container.HostConfig.NanoCPUs)
			assert.Equal(t, int64(64<<20), info.Container.HostConfig.Memory)
			assert.Equal(t, "unless-stopped", string(info.Container.HostConfig.RestartPolicy.Name))
			check := []string{"CMD", "/lbproof", "backend", "--healthy", "8000"}
			assert.Equal(t, check, info.Container.Config.Healthcheck.Test)
		}
	}
	require.Len(t, networks, 1)
	for name := range networks {
		n, err := cli.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
		require.NoError(t, err)
		assert.True(t, n.Network.Internal, "the network has no route out")
	}
	assert.Equal(t, 0, p.wait(t))
}

// A fault is in force as the scenario specifies, affects clients, and refutes no promise that the balancer keeps.
func TestPausedBackend(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, dir, "test", "pause")
	require.Equal(t, 0, p.wait(t), "%s\n%s", p.stderr.String(), p.stdout.String())
	_, r := reportOf(t, dir)
	require.Len(t, r.Env.Faults, 1)
	window := r.Env.Faults[0]
	assert.Empty(t, window.Err)
	assert.GreaterOrEqual(t, window.EndsAfter-window.RequestedAt, time.Second)
	assert.Less(t, window.StartsBy, window.EndsAfter, "it was observed before it ended")
	assert.Greater(t, r.Phases[1].Max, 900*time.Millisecond, "latency counts from when a request was due")
	assert.Less(t, r.Phases[1].P50, 500*time.Millisecond)
}

// Doctor is quick and changes nothing; it does not even build the image of lbproof itself.
func TestDoctor(t *testing.T) {
	cli := engineAPI(t)
	before, err := cli.ImageList(t.Context(), client.ImageListOptions{All: true})
	require.NoError(t, err)
	_, err = binary() // building takes longer than doctor
	require.NoError(t, err)
	began := time.Now()
	p := start(t, t.TempDir(), "doctor")
	assert.Equal(t, 0, p.wait(t), p.stdout.String())
	assert.Less(t, time.Since(began), 2*time.Second)
	assert.Regexp(t, `Docker +ok: [0-9.]+.* at .*, usable by this\s+user`, p.stdout.String())
	for _, name := range imageNames() {
		assert.Regexp(t, `(?m)^  `+name+` +(present|can be pulled|can be built):`, p.stdout.String())
	}
	after, err := cli.ImageList(t.Context(), client.ImageListOptions{All: true})
	require.NoError(t, err)
	assert.Len(t, after.Items, len(before.Items))
}

func TestCheckRunsPossible(t *testing.T) {
	images := []namedImage{
		{name: ownImage}, {name: "nginx", balancer: true}, {name: "haproxy", balancer: true}, {name: "redis"},
	}
	in := func(states ...docker.AvailabilityState) (found []docker.Availability) {
		for _, s := range states {
			found = append(found, docker.Availability{State: s, Origin: "why"})
		}
		return found
	}
	const missing = docker.Unavailable
	assert.NoError(t, checkRunsPossible(images, in(docker.Buildable, missing, docker.Pullable, missing)))
	assert.EqualError(t, checkRunsPossible(images, in(missing, docker.Present, docker.Present, docker.Present)),
		"no run is possible: the image of lbproof itself is unavailable: why")
	assert.ErrorContains(t, checkRunsPossible(images, in(docker.Present, missing, missing, docker.Present)),
		"no run is possible: no balancer's image is available")
}
