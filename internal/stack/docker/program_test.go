package docker

import (
	"archive/tar"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/stack"
)

func TestParseLibraries(t *testing.T) {
	const glibc = "\tlinux-vdso.so.1 (0x00007f6a5027d000)\n" +
		"\tlibresolv.so.2 => /lib/x86_64-linux-gnu/libresolv.so.2 (0x00007f6a50100000)\n" +
		"\tlibc.so.6 => /opt/with space/libc.so.6 (0x00007f6a5008a000)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f6a5027f000)\n"
	got, err := parseLibraries("lbproof", glibc)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{
		"libresolv.so.2": "/lib/x86_64-linux-gnu/libresolv.so.2", "libc.so.6": "/opt/with space/libc.so.6",
	}, got)

	got, err = parseLibraries("lbproof", "\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f6a5008a000)\n")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"libc.musl-x86_64.so.1": "/lib/ld-musl-x86_64.so.1"}, got)

	_, err = parseLibraries("lbproof", "\tlibmissing.so.1 => not found\n")
	assert.EqualError(t, err, "lbproof: shared library libmissing.so.1 is not on this machine; install it, or build lbproof with CGO_ENABLED=0")
}

func TestLoaderOf(t *testing.T) {
	_, err := loaderOf("program_test.go")
	assert.ErrorContains(t, err, "not a Linux program")
	loader, err := loaderOf(built(t))
	require.NoError(t, err)
	assert.Empty(t, loader, "static")
}

// A dynamic program runs in a directory that has its loader and libraries only, as in the node image.
func TestLibrariesAreEnough(t *testing.T) {
	const shell = "/bin/sh"
	loader, err := loaderOf(shell)
	require.NoError(t, err)
	if loader == "" {
		t.Skip("the shell of this machine is static")
	}
	libraries, err := librariesOf(t.Context(), loader, shell)
	require.NoError(t, err)
	require.NotEmpty(t, libraries)
	dir := t.TempDir()
	r, w := io.Pipe()
	go func() {
		archive := tar.NewWriter(w)
		err := addLibraries(layer{archive, map[string]bool{}}, loader, libraries)
		_ = archive.Close()
		w.CloseWithError(err)
	}()
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		name := filepath.Join(dir, h.Name)
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		content, err := io.ReadAll(archive)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, content, 0o755))
	}
	cmd := exec.Command(filepath.Join(dir, loader), "--library-path", filepath.Join(dir, libraryDir), shell, "-c", "echo runs")
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "runs\n", string(out))
}

// The node image of a program that plain go build makes has all that it needs.
func TestDynamicNodeImage(t *testing.T) {
	e := engine(t)
	e.Binary = filepath.Join(t.TempDir(), "lbproof")
	build := exec.Command("go", "build", "-o", e.Binary, "../../../cmd/lbproof")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	loader, err := loaderOf(e.Binary)
	require.NoError(t, err)
	require.NotEmpty(t, loader, "dynamic")
	s := opened(t, e, stack.Setup{Run: "dynamictest"})
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	require.Eventually(t, func() bool {
		var log strings.Builder
		return s.Logs(t.Context(), "b1", &log) == nil && strings.Contains(log.String(), "listening")
	}, 20*time.Second, 50*time.Millisecond)
	assert.NoError(t, s.CheckAllRunning(t.Context()))
}
