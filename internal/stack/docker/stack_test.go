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
)

func TestRefusalNamesTheUsersFile(t *testing.T) {
	spec := plan.Spec{Check: []string{"nginx", "-t"}, Files: map[string]string{"/etc/nginx/nginx.conf": "deploy/lb.conf"}}
	files := []model.File{{Name: "deploy/lb.conf"}}
	f := func(said, want string) {
		t.Helper()
		assert.Equal(t, want, refusal(spec, files, said))
	}
	f("[emerg] no such thing in /etc/nginx/nginx.conf:12\n", "deploy/lb.conf:12: refused by nginx -t:\n[emerg] no such thing in deploy/lb.conf:12")
	f("[emerg] getpwnam failed", "deploy/lb.conf: refused by nginx -t:\n[emerg] getpwnam failed")
}

func TestVersionsOfPackages(t *testing.T) {
	debs := []string{"/x/libc6_2.36_amd64.deb", "/x/nginx_1%3a1.22.1-9+deb12u10_amd64.deb"}
	assert.Equal(t, "1:1.22.1-9+deb12u10", versionOf("nginx", debs))
	assert.Equal(t, "unknown", versionOf("haproxy", debs))
	assert.Equal(t, "1-1.22.1-9-deb12u10", tagOf("1:1.22.1-9+deb12u10"))
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

func TestOnlyStaticProgramsGoIntoContainers(t *testing.T) {
	assert.ErrorContains(t, static("stack_test.go"), "is no Linux program")
	assert.ErrorContains(t, static("/bin/sh"), "CGO_ENABLED=0")
	assert.NoError(t, static(built(t)))
}

func TestRecipesDiffer(t *testing.T) {
	a := plan.Image{Packages: []string{"nginx"}}
	b := a
	b.Users = []string{"nobody"}
	assert.NotEqual(t, recipe(a), recipe(b))
	assert.Equal(t, recipe(a), recipe(plan.Image{Packages: []string{"nginx"}}))
}

func TestTail(t *testing.T) {
	assert.Equal(t, "b\nc", tail("a\nb\nc\n", 2))
	assert.Equal(t, "a", tail("a", 2))
}

func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "lbproof")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, "../../../cmd/lbproof") // as make build does
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// open starts an empty stack on the real engine.
func open(t *testing.T) *Stack {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Docker")
	}
	d := &Docker{Binary: built(t)}
	_, err := d.Connect(t.Context())
	require.NoError(t, err)
	s, err := d.Open(t.Context(), "stacktest", nil, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// backend is a node that needs no balancer.
func backend(name string) (plan.Spec, []model.File) {
	file := model.NewFile("a.conf", []byte("as it was given\x00\xff"))
	return plan.Spec{
		Name: name, Role: plan.Backend, Command: []string{"/lbproof", "backend", "--listen", "8000"}, Files: map[string]string{"/conf": "a.conf"},
		Title: "/lbproof",
	}, []model.File{file}
}

func TestProof(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	digest, err := s.Proof(t.Context(), spec, files)
	require.NoError(t, err)
	assert.Equal(t, files[0].SHA256, digest, "byte for byte")
	n, err := s.Workers(t.Context(), spec, 1)
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	assert.NoError(t, s.Running(t.Context()))

	t.Run("another command", func(t *testing.T) {
		other := spec
		other.Command = []string{"/lbproof", "backend"}
		_, err := s.Proof(t.Context(), other, files)
		assert.ErrorContains(t, err, "it runs")
	})
	t.Run("a file that was changed", func(t *testing.T) {
		var archive bytes.Buffer
		l := layer{tar.NewWriter(&archive), map[string]bool{}}
		require.NoError(t, l.file("conf", 0o644, []byte("changed")))
		require.NoError(t, l.w.Close())
		_, err := s.docker.client.CopyToContainer(t.Context(), s.node("b1").container.GetContainerID(),
			client.CopyToContainerOptions{DestinationPath: "/", Content: &archive})
		require.NoError(t, err)
		_, err = s.Proof(t.Context(), spec, files)
		assert.ErrorContains(t, err, "/conf is not the file a.conf that it was given")
	})
	t.Run("a container that is gone", func(t *testing.T) {
		_, err := s.docker.client.ContainerKill(t.Context(), s.node("b1").container.GetContainerID(), client.ContainerKillOptions{Signal: "KILL"})
		require.NoError(t, err)
		watching, stop := context.WithCancel(t.Context())
		defer stop()
		err = s.Gone(watching, "b1")
		assert.ErrorContains(t, err, "the container b1 died: exit status 137")
		assert.ErrorContains(t, err, "listening", "its last lines are told")
	})
}

// An image that can be neither found, pulled nor built says why, for each way.
func TestMissingImageSaysWhy(t *testing.T) {
	s := open(t)
	_, err := s.docker.Image(t.Context(), plan.Image{Ref: "localhost:1/nothing:here", Packages: []string{"no-such-package-anywhere"}})
	require.Error(t, err)
	for _, want := range []string{"localhost:1/nothing:here", "pull:", "build from Debian packages:", "no-such-package-anywhere"} {
		assert.True(t, strings.Contains(err.Error(), want), "%q is not in %v", want, err)
	}
}

// The module that builds a program has what the program's own module replaces and excludes, which a mere require would lose.
func TestGoMod(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "go.mod")
	require.NoError(t, os.WriteFile(theirs, []byte("module m.example/m\n\ngo 1.25.0\n\nreplace a.example => b.example v1.2.3\n\nexclude c.example v0.0.1\n"), 0o600))
	got, err := goMod(&plan.Module{Path: "m.example/m", Version: "v3.0.0"}, theirs)
	require.NoError(t, err)
	assert.Equal(t, "module lbproof.invalid/tools\n\ngo 1.25.0\n\nrequire m.example/m v3.0.0\nreplace a.example  => b.example v1.2.3\nexclude c.example v0.0.1\n", got)
}

// What balancers complain of is told with the user's file and line; the rest of their logs is not.
func TestComplaints(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "lb.conf", "/etc/haproxy/haproxy.cfg": "lb.cfg"}}
	f := func(log string, want ...model.Said) {
		t.Helper()
		assert.Equal(t, want, complaints(spec, log, false))
	}
	f("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n")
	f("2026/11/21 [emerg] 1#1: unknown directive \"x\" in /etc/nginx/nginx.conf:7\n",
		model.Said{Pos: model.Pos{File: "lb.conf", Line: 7}, Text: `2026/11/21 [emerg] 1#1: unknown directive "x" in lb.conf:7`})
	f("[NOTICE] (1) : hello\n[ALERT] (1) : config : parsing [/etc/haproxy/haproxy.cfg:48] : bad\n[WARNING] (1) : Server b/s is DOWN, reason: x\n",
		model.Said{Pos: model.Pos{File: "lb.cfg", Line: 48}, Text: "[ALERT] (1) : config : parsing [lb.cfg:48] : bad"})
	f("\x1b[90m2026\x1b[0m \x1b[31mERR\x1b[0m no\n", model.Said{Text: "2026 ERR no"})
	assert.Equal(t, []model.Said{{Text: "just this"}}, complaints(spec, "just this\n", true))
	assert.Equal(t, "HAProxy version 2.6.12 2026/10/17", VersionLine("\nHAProxy version 2.6.12   2026/10/17\nStatus: x\n"))
}
