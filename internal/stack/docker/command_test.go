package docker

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
)

// The end of the context kills a program and its child processes: the pipe that they share is closed.
func TestCommandEndsWithItsChildren(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	cmd := newCommand(ctx, childEnv(), "sh", "-c", "sleep 600 & echo ready >&3; wait")
	cmd.ExtraFiles = []*os.File{w}
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	buffer := make([]byte, 6)
	_, err = io.ReadFull(r, buffer)
	require.NoError(t, err)
	cancel(errors.New("interrupted"))
	err = exitCause(ctx, cmd.Wait())
	assert.EqualError(t, err, "interrupted")
	require.NoError(t, r.SetReadDeadline(time.Now().Add(30*time.Second)))
	_, err = io.ReadAll(r)
	assert.NoError(t, err, "something that the program started still runs")
}

func TestLockIsWaitedForUntilTheContextEnds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := lockFile(t.Context(), name)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = lockFile(ctx, name)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, first.Close())
	second, err := lockFile(t.Context(), name)
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

// The environment cannot make apt-get run other programs.
func TestNoHooksOfTheEnvironment(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("needs Debian's apt-get")
	}
	dir := t.TempDir()
	marker := filepath.Join(dir, "marker")
	config := filepath.Join(dir, "apt.conf")
	require.NoError(t, os.WriteFile(config, []byte(`APT::Update::Pre-Invoke { "touch `+marker+`"; };`), 0o600))
	t.Setenv("APT_CONFIG", config)
	update := func(env []string) {
		cmd := newCommand(t.Context(), env, "apt-get", "-o", "Dir::State="+dir, "-o", "Dir::Cache="+dir, "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=/dev/null", "update")
		_ = cmd.Run() // without package sources it fails, which does not matter here
	}
	update(childEnv())
	assert.NoFileExists(t, marker)
	update(os.Environ())
	assert.FileExists(t, marker, "with the variable, the hook runs")
}

// Invalid names of packages and modules never reach a command line.
func TestHostileImagesAreNotBuilt(t *testing.T) {
	d := &Engine{}
	_, _, err := d.build(t.Context(), plan.Image{Ref: "x", Packages: []string{"-o", "DPkg::Pre-Invoke::=id"}}, false)
	assert.ErrorContains(t, err, `packages[0]: "-o" is not the name of a Debian package`)
	_, _, err = d.build(t.Context(), plan.Image{Ref: "x"}, false)
	assert.EqualError(t, err, "no Debian package is known for x: pull it, or load it into Docker")
	_, _, err = d.build(t.Context(), plan.Image{Ref: "x", Module: &plan.Module{Name: "xy", Path: "-toolexec=id", Version: "v1.0.0", Package: "x"}}, false)
	assert.ErrorContains(t, err, "module.path: malformed module path")
}

func TestGoUsesFixedSettings(t *testing.T) {
	for name, value := range map[string]string{"GOTOOLCHAIN": "go1.999.0", "GOFLAGS": "-toolexec=id", "GOOS": "plan9", "CGO_ENABLED": "1", "GOVCS": "*:all", "GOEXPERIMENT": "none"} {
		t.Setenv(name, value)
	}
	out, err := runGo(t.Context(), t.TempDir(), "env", "GOFLAGS", "GOTOOLCHAIN", "GOOS", "CGO_ENABLED", "GOVCS", "GOEXPERIMENT")
	require.NoError(t, err)
	assert.Equal(t, "-mod=mod\nlocal\nlinux\n0\n*:off\n\n", string(out))
}

func TestModuleThatReplacesByDirectory(t *testing.T) {
	name := filepath.Join(t.TempDir(), "go.mod")
	m := &plan.Module{Name: "x", Path: "example.com/x", Version: "v1.0.0", Package: "cmd/x"}
	require.NoError(t, os.WriteFile(name, []byte("module example.com/x\n\nreplace example.com/y => /home/me/y\n"), 0o600))
	_, err := goModText(m, name)
	assert.EqualError(t, err, "example.com/x replaces example.com/y by the directory /home/me/y, which the module proxy does not have")
	require.NoError(t, os.WriteFile(name, []byte("module example.com/x\n"), 0o600))
	text, err := goModText(m, name)
	require.NoError(t, err)
	assert.Equal(t, "module lbproof.invalid/tools\n\ngo 1.16\n\nrequire example.com/x v1.0.0\n", text)
}
