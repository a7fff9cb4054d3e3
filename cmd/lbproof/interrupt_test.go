package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exitTimeout is how long lbproof may take to end. It promises one second; a busy machine may need more.
const exitTimeout = 3 * time.Second

// begin starts lbproof with a pipe as its standard output.
func begin(t *testing.T, args ...string) (cmd *exec.Cmd, stdout *os.File, stderr *bytes.Buffer) {
	t.Helper()
	stdout, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { stdout.Close() })
	stderr = &bytes.Buffer{}
	cmd = exec.Command("lbproof", args...)
	cmd.Stdout, cmd.Stderr = w, stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	require.NoError(t, w.Close())
	return cmd, stdout, stderr
}

// waitExit returns the exit code of a program, which must end within exitTimeout.
func waitExit(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	began := time.Now()
	timer := time.AfterFunc(exitTimeout, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	took := time.Since(began)
	assert.Less(t, took, exitTimeout)
	t.Logf("it took %s", took)
	return cmd.ProcessState.ExitCode()
}

// waitCPUTime waits until a program has used at least this CPU time.
func waitCPUTime(t *testing.T, cmd *exec.Cmd, atLeast time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			return false
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		ticks, err := strconv.Atoi(fields[11]) // utime, in hundredths of a second (proc(5))
		return err == nil && time.Duration(ticks)*10*time.Millisecond >= atLeast
	}, time.Minute, 10*time.Millisecond)
}

// sites writes a configuration with n server blocks and returns its name.
func sites(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("events {}\nhttp {\n")
	for i := range n {
		fmt.Fprintf(&b, "upstream u%d { server a%d:80; server b%d:80; }\n", i, i, i)
		fmt.Fprintf(&b, "server { listen 80; server_name s%d.example; location / { proxy_pass http://u%d; } }\n", i, i)
	}
	b.WriteString("}\n")
	name := filepath.Join(t.TempDir(), "nginx.conf")
	require.NoError(t, os.WriteFile(name, []byte(b.String()), 0o600))
	return name
}

func TestInterruptEndsComputingAndPrinting(t *testing.T) {
	large := sites(t, 20_000) // takes many seconds to read
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		f := func(what string, under func(cmd *exec.Cmd, stdout *os.File), args ...string) {
			t.Run(fmt.Sprint(signal, " ", what), func(t *testing.T) {
				cmd, stdout, stderr := begin(t, args...)
				under(cmd, stdout)
				require.NoError(t, cmd.Process.Signal(signal))
				assert.Equal(t, exitEnvironment, waitExit(t, cmd), stderr)
				assert.Contains(t, stderr.String(), "lbproof: interrupted\n")
			})
		}
		computes := func(cmd *exec.Cmd, _ *os.File) { waitCPUTime(t, cmd, 100*time.Millisecond) }
		prints := func(_ *exec.Cmd, stdout *os.File) {
			_, err := stdout.Read(make([]byte, 1)) // no more, so that lbproof blocks on the rest
			require.NoError(t, err)
		}
		f("reads", computes, "claims", "--static", large)
		f("plans", computes, "plan", large)
		f("prints", prints, "plan", "builtin:nginx/order-api")
	}
}

// Files that are not regular are refused at once, wherever they are named: reading them could block forever.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	pipe := func(name string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, syscall.Mkfifo(name, 0o600))
		return name
	}
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	pipe("part.conf")
	pipe("times")
	pipe("lb.conf")
	file("good.conf", "events {}\n"+
		"http { upstream u { server a; server b; } server { location / { proxy_pass http://u; } } }\n")
	const scenario = "name: x\ndoc: y\nconfig: %s\nphases: [{name: a, rate: %s, send: [{path: /}]}]\n"
	for _, args := range [][]string{
		{"claims", pipe("nginx.conf")},
		{"claims", "/dev/zero"},
		{"mutate", pipe("haproxy.cfg")},
		{"claims", file("include.conf", "events {}\nhttp { include part.conf; }\n")},
		{"claims", file("glob.conf", "events {}\nhttp { include par*.conf; }\n")},
		{"plan", pipe("traefik.yaml")},
		{"run", pipe("plan.json")},
		{"plan", file("a.yaml", fmt.Sprintf(scenario, "lb.conf", "1\n    , for: 1s"))},
		{"plan", file("b.yaml", fmt.Sprintf(scenario, "good.conf", "{replay: times}"))},
	} {
		cmd, _, stderr := begin(t, args...)
		assert.Equal(t, exitUsage, waitExit(t, cmd), args)
		assert.Regexp(t, "is a (named pipe|device); name a regular file", stderr.String(), args)
	}
}
