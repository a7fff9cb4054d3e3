package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

func TestVersionsOfPackages(t *testing.T) {
	debs := []string{"/x/libc6_2.36_amd64.deb", "/x/nginx_1%3a1.22.1-9+deb12u10_amd64.deb"}
	assert.Equal(t, "1:1.22.1-9+deb12u10", packageVersion("nginx", debs))
	assert.Equal(t, "unknown", packageVersion("haproxy", debs))
	assert.Equal(t, "1-1.22.1-9-deb12u10", tagFor("1:1.22.1-9+deb12u10"))
}

func TestLayerTakesEachPathOnce(t *testing.T) {
	var archive bytes.Buffer
	l := layer{tar.NewWriter(&archive), map[string]bool{}}
	require.NoError(t, l.file("/etc/passwd", 0o644, []byte("first")))
	require.NoError(t, l.file("./etc/passwd", 0o644, []byte("second")))
	require.NoError(t, l.dir("run", 0o755))
	require.NoError(t, l.link("var/run", "/run"))
	require.NoError(t, l.w.Close())
	var names []string
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name)
	}
	assert.Equal(t, []string{"etc/passwd", "run/", "var/run"}, names)
}

func TestRecipesDiffer(t *testing.T) {
	a := plan.Image{Packages: []string{"nginx"}}
	b := a
	b.Users = []string{"nobody"}
	assert.NotEqual(t, recipeDigest(a), recipeDigest(b))
	assert.Equal(t, recipeDigest(a), recipeDigest(plan.Image{Packages: []string{"nginx"}}))
}

func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lbproof")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../../../cmd/lbproof") // like make build
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// rig is a stack.Rig on the real engine, with its Stack.
type rig struct {
	*stack.Rig
	made *Stack
}

// opener is an engine that records the Stack that it opens.
type opener struct {
	*Engine
	made *Stack
}

func (o *opener) Open(ctx context.Context, w stack.RunConfig) (stack.Stack, error) {
	made, err := o.Engine.Open(ctx, w)
	if err == nil {
		o.made = made.(*Stack)
	}
	return made, err
}

// engine returns the real engine.
func engine(t *testing.T) *Engine {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	e := &Engine{Binary: built(t)}
	_, err := e.Host(t.Context())
	require.NoError(t, err)
	return e
}

// openRig starts a rig that the test closes.
func openRig(t *testing.T, e *Engine, setup stack.Setup) rig {
	t.Helper()
	keeping := &opener{Engine: e}
	r, err := stack.Open(t.Context(), keeping, setup)
	require.NoError(t, err)
	return rig{r, keeping.made}
}

// open starts an empty rig.
func open(t *testing.T) rig {
	t.Helper()
	return opened(t, engine(t), stack.Setup{Run: "stacktest"})
}

// opened starts a rig that is closed at the end of the test.
func opened(t *testing.T, e *Engine, setup stack.Setup) rig {
	t.Helper()
	r := openRig(t, e, setup)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// node returns the container of a member.
func (r rig) node(t *testing.T, name string) *node {
	t.Helper()
	return r.member(t, name).Node.(*node)
}

func (r rig) member(t *testing.T, name string) *stack.Member {
	t.Helper()
	m, err := r.Member(name)
	require.NoError(t, err)
	return m
}

// backend returns a node that needs no balancer.
func backend(name string) (plan.Spec, []model.File) {
	file := model.NewFile("a.conf", []byte("as it was given\x00\xff"))
	return plan.Spec{
		Name: name, Role: plan.Backend, Command: []string{"/lbproof", "backend", "--listen", "8000"}, Files: map[string]string{"/conf": "a.conf"},
		WorkerTitle: "/lbproof",
	}, []model.File{file}
}

func TestVerifyConfig(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	digest, err := s.VerifyConfig(t.Context(), spec, files)
	require.NoError(t, err)
	assert.Equal(t, files[0].SHA256, digest, "byte for byte")
	n, err := s.CountWorkers(t.Context(), spec, 1)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.NoError(t, s.CheckAllRunning(t.Context()))

	t.Run("another command", func(t *testing.T) {
		other := spec
		other.Command = []string{"/lbproof", "backend"}
		_, err := s.VerifyConfig(t.Context(), other, files)
		assert.ErrorContains(t, err, "it runs")
	})
	t.Run("a file that was changed", func(t *testing.T) {
		var archive bytes.Buffer
		l := layer{tar.NewWriter(&archive), map[string]bool{}}
		require.NoError(t, l.file("conf", 0o644, []byte("changed")))
		require.NoError(t, l.w.Close())
		_, err := s.made.engine.client.CopyToContainer(t.Context(), s.node(t, "b1").id(),
			client.CopyToContainerOptions{DestinationPath: "/", Content: &archive})
		require.NoError(t, err)
		_, err = s.VerifyConfig(t.Context(), spec, files)
		assert.ErrorContains(t, err, "verify the configuration of b1: /conf differs from a.conf")
	})
	t.Run("a killed container", func(t *testing.T) {
		_, err := s.made.engine.client.ContainerKill(t.Context(), s.node(t, "b1").id(), client.ContainerKillOptions{Signal: "KILL"})
		require.NoError(t, err)
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		err = s.CheckRunning(watching, "b1")
		assert.ErrorContains(t, err, "container b1 exited: exit status 137")
		assert.ErrorContains(t, err, "listening", "last log lines")
	})
}

// The error for an unavailable image explains why it can neither be pulled nor built.
func TestMissingImageSaysWhy(t *testing.T) {
	s := open(t)
	_, err := s.made.engine.Image(t.Context(), plan.Image{Ref: "localhost:1/nothing:here", Packages: []string{"no-such-package-anywhere"}})
	require.Error(t, err)
	for _, want := range []string{"localhost:1/nothing:here", "pulling it failed:", "building it failed:", "no-such-package-anywhere"} {
		assert.True(t, strings.Contains(err.Error(), want), "%q is not in %v", want, err)
	}
}

// The module that builds a program has the replace and exclude directives of the program's own module.
func TestGoMod(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "go.mod")
	require.NoError(t, os.WriteFile(theirs, []byte("module m.example/m\n\ngo 1.25.0\n\nreplace a.example => b.example v1.2.3\n\nexclude c.example v0.0.1\n"), 0o600))
	got, err := goModText(&plan.Module{Path: "m.example/m", Version: "v3.0.0"}, theirs)
	require.NoError(t, err)
	assert.Equal(t, "module lbproof.invalid/tools\n\ngo 1.25.0\n\nrequire m.example/m v3.0.0\nreplace a.example  => b.example v1.2.3\nexclude c.example v0.0.1\n", got)
}
