package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// buildFromModule builds an image of a Go program from the module proxy, with the Go on this machine. Downloads and
// object files stay in Go's caches.
func (e *Engine) buildFromModule(ctx context.Context, image plan.Image) (found stack.Image, built bool, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return stack.Image{}, false, fmt.Errorf("find a directory to build in: %w", err)
	}
	dir := filepath.Join(base, "lbproof", "module", image.Module.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return stack.Image{}, false, fmt.Errorf("create a directory to build in: %w", err)
	}
	lock, err := lockFile(ctx, filepath.Join(dir, "lbproof.lock"))
	if err != nil {
		return stack.Image{}, false, fmt.Errorf("lock the directory to build in: %w", err)
	}
	defer lock.Close()
	if found, ok, err := e.findLocal(ctx, image); err != nil || ok {
		return found, false, err // another run has built it in the meantime
	}
	program, err := e.compile(ctx, dir, image.Module)
	if err != nil {
		return stack.Image{}, false, err
	}
	found, err = e.importProgram(ctx, image, program)
	return found, err == nil, err
}

// compile builds the program with the replace and exclude directives of its own module.
func (e *Engine) compile(ctx context.Context, dir string, m *plan.Module) (program string, err error) {
	var out []byte
	err = e.step(fmt.Sprintf("downloading the Go module %s %s", m.Path, m.Version), func() error {
		out, err = runGo(ctx, dir, "mod", "download", "-json", m.Path+"@"+m.Version)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("download %s %s: %w", m.Path, m.Version, err)
	}
	var got struct{ GoMod string }
	if err := json.Unmarshal(out, &got); err != nil {
		return "", fmt.Errorf("download %s %s: %w", m.Path, m.Version, err)
	}
	if err := writeModule(dir, m, got.GoMod); err != nil {
		return "", fmt.Errorf("build %s: %w", m.Name, err)
	}
	err = e.step("downloading the modules that "+m.Name+" needs", func() error {
		_, err := runGo(ctx, dir, "mod", "tidy")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", m.Name, err)
	}
	program = filepath.Join(dir, m.Name)
	version := strings.TrimPrefix(m.Version, "v")
	flags := fmt.Sprintf("-s -w -X %s/pkg/version.Version=%s", m.Path, version)
	build := []string{"build", "-trimpath", "-ldflags", flags, "-o", program, m.Path + "/" + m.Package}
	err = e.step("compiling "+m.Name+" "+m.Version, func() error {
		_, err := runGo(ctx, dir, build...)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("build %s: %w", m.Name, err)
	}
	return program, nil
}

// writeModule writes the module that builds the program; goMod is the go.mod of the program's own module.
func writeModule(dir string, m *plan.Module, goMod string) error {
	text, err := goModText(m, goMod)
	if err != nil {
		return err
	}
	main := fmt.Sprintf("//go:build tools\n\npackage %s\n\nimport _ %q\n", "tools", m.Path+"/"+m.Package)
	for name, content := range map[string]string{"go.mod": text, "tools.go": main} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// goModText returns the go.mod of the module that builds the program; theirs is the program's own go.mod.
func goModText(m *plan.Module, theirs string) (string, error) {
	text, err := os.ReadFile(theirs)
	if err != nil {
		return "", err
	}
	parsed, err := modfile.Parse(theirs, text, nil)
	if err != nil {
		return "", err
	}
	version := "1.16" // Go's default for a go.mod without a version
	if parsed.Go != nil {
		version = parsed.Go.Version
	}
	var b strings.Builder
	fmt.Fprintf(&b, "module lbproof.invalid/tools\n\ngo %s\n\nrequire %s %s\n", version, m.Path, m.Version)
	for _, r := range parsed.Replace {
		if r.New.Version == "" { // a local directory
			return "", fmt.Errorf("%s replaces %s by the directory %s, which the module proxy does not have",
				m.Path, r.Old.Path, r.New.Path)
		}
		fmt.Fprintf(&b, "replace %s %s => %s %s\n", r.Old.Path, r.Old.Version, r.New.Path, r.New.Version)
	}
	for _, e := range parsed.Exclude {
		fmt.Fprintf(&b, "exclude %s %s\n", e.Mod.Path, e.Mod.Version)
	}
	return b.String(), nil
}

// goEnvPassed are the environment variables for Go's module sources and caches.
var goEnvPassed = []string{
	"GOPATH", "GOMODCACHE", "GOCACHE", "GOROOT", "GOENV", "GOPROXY", "GOSUMDB", "GOPRIVATE",
	"GONOPROXY", "GONOSUMDB", "GOINSECURE",
}

// goEnvFixed makes Go compile for this machine without running other programs: no C compiler, version control, other
// toolchain, or tool in GOFLAGS. Environment variables override go env -w.
var goEnvFixed = []string{
	"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local", "GOVCS=*:off",
	"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH,
}

// runGo runs the go command in a directory.
func runGo(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := newCommand(ctx, append(childEnv(goEnvPassed...), goEnvFixed...), "go", args...)
	cmd.Dir = dir
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", args[0], exitCause(ctx, err), outputTail(problems.Bytes()))
	}
	return out, nil
}

// importProgram creates an image of one static program.
func (e *Engine) importProgram(ctx context.Context, image plan.Image, program string) (stack.Image, error) {
	m := image.Module
	found := stack.Image{
		Ref:    fmt.Sprintf("lbproof/%s:%s-module", m.Name, strings.TrimPrefix(m.Version, "v")),
		Source: fmt.Sprintf("built from the Go module %s %s", m.Path, m.Version),
	}
	labels := map[string]string{labelRecipe: recipeDigest(image), labelSource: found.Source}
	err := e.importImage(ctx, found.Ref, imageConfig{labels: labels}, func(l layer) error {
		if err := addBaseFiles(l, image); err != nil {
			return err
		}
		return errors.Join(l.dir("bin", 0o755), l.hostFile("bin/"+m.Name, program))
	})
	return found, err
}
