package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

var reload = Fault{
	Name: plan.FaultReload, Roles: []plan.Role{plan.Balancer}, NeedsMaster: true,
	Doc: "makes the balancer reload a changed configuration, and the original one at the end",
	Args: []Arg{
		{"change", Choice, "comment", "none, comment, remove, broken: unchanged; with a comment added; " +
			"without the last server of the first pool with two or more servers; " +
			"invalid, so that the balancer must keep the old one"},
		{"times", Count, "1", "number of reloads in a row"},
	},
	Start: startReload,
}

func startReload(ctx context.Context, s Site) (func(context.Context) error, error) {
	old, err := mainFile(s)
	if err != nil {
		return nil, err
	}
	changed, err := changedConfig(s.Args["change"], *old.file, s.Config)
	if err != nil {
		return nil, err
	}
	for i := range s.Args.count("times") {
		put := func() error { return applyConfig(ctx, s, old.path, changed, s.Args["change"] != "broken") }
		if s.Node.Spec.ReloadSignal == "" && i < s.Args.count("times")-1 { // there is no signal to wait for
			put = func() error { return s.writeAndReload(ctx, model.NewFile(old.path, changed)) }
		}
		if err := put(); err != nil {
			original := model.NewFile(old.path, old.file.Content)
			return nil, errors.Join(err, s.writeAndReload(context.WithoutCancel(ctx), original))
		}
	}
	return func(ctx context.Context) error { return applyConfig(ctx, s, old.path, old.file.Content, true) }, nil
}

// placedFile is a file of the configuration and its path in the container.
type placedFile struct {
	path string
	file *model.File
}

// mainFile returns the file to change: the one that declares the first pool with two servers.
func mainFile(s Site) (placedFile, error) {
	name := s.Config.Files[0].Name
	if pool := firstRedundantPool(s.Config); pool != nil {
		name = pool.Servers[0].Pos.File
	}
	for at, file := range s.Node.Spec.Files {
		i := slices.IndexFunc(s.Config.Files, func(f model.File) bool { return f.Name == name })
		if file == name && i >= 0 {
			return placedFile{at, &s.Config.Files[i]}, nil
		}
	}
	return placedFile{}, fmt.Errorf("%s: not in the container", name)
}

// firstRedundantPool returns the first pool with two or more servers, or nil.
func firstRedundantPool(cfg model.Config) *model.Pool {
	for i := range cfg.Pools {
		if len(cfg.Pools[i].Servers) > 1 {
			return &cfg.Pools[i]
		}
	}
	return nil
}

// changedConfig returns the changed content of the file.
func changedConfig(how string, file model.File, cfg model.Config) ([]byte, error) {
	switch how {
	case "comment":
		return append(slices.Clone(file.Content), "\n# reloaded\n"...), nil
	case "broken":
		return append(slices.Clone(file.Content), "\nbroken on purpose {\n"...), nil
	case "remove":
		pool := firstRedundantPool(cfg)
		if pool == nil {
			return nil, errors.New("no pool has two servers, so none can be removed")
		}
		return removeLine(file.Content, pool.Servers[len(pool.Servers)-1].Pos.Line)
	}
	return file.Content, nil
}

// removeLine removes a line and the more deeply indented lines after it.
func removeLine(text []byte, line int) ([]byte, error) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if line < 1 || line > len(lines) {
		return nil, fmt.Errorf("no line %d in the file", line)
	}
	indent := func(l []byte) int { return len(l) - len(bytes.TrimLeft(l, " \t")) }
	end := line
	for end < len(lines) && strings.TrimSpace(string(lines[end])) != "" && indent(lines[end]) > indent(lines[line-1]) {
		end++
	}
	return slices.Concat(slices.Concat(lines[:line-1]...), slices.Concat(lines[end:]...)), nil
}

// applyConfig writes a file and makes the balancer reload. It returns once new workers run, if the balancer starts new
// ones; an invalid configuration starts none.
func applyConfig(ctx context.Context, s Site, at string, content []byte, accepted bool) error {
	before, err := s.Node.Processes(ctx)
	if err != nil {
		return err
	}
	if err := s.writeAndReload(ctx, model.NewFile(at, content)); err != nil {
		return err
	}
	switch {
	case s.Node.Spec.ReloadSignal == "":
		sleep.For(ctx, watchDelay)
		return nil
	case !accepted:
		sleep.For(ctx, time.Second)
		return s.confirmSameWorkers(ctx, before)
	}
	return s.awaitNewWorker(ctx, before)
}

// writeAndReload writes files and signals the balancer.
func (s Site) writeAndReload(ctx context.Context, files ...model.File) error {
	if err := s.Node.Write(ctx, files...); err != nil {
		return fmt.Errorf("write %s: %w", path.Base(files[len(files)-1].Name), err)
	}
	if s.Node.Spec.ReloadSignal == "" {
		return nil
	}
	return s.Node.Signal(ctx, s.Node.Spec.ReloadSignal)
}

// watchDelay is how long a balancer that watches its files may take to reload.
const watchDelay = 3 * time.Second

// confirmSameWorkers returns an error if the worker processes have changed.
func (s Site) confirmSameWorkers(ctx context.Context, before []string) error {
	after, err := s.Node.Processes(ctx)
	if err == nil && !slices.Equal(before, after) {
		err = fmt.Errorf("the balancer should have rejected the configuration, "+
			"but its processes changed from %s to %s", strings.Join(before, ", "), strings.Join(after, ", "))
	}
	return err
}

// awaitNewWorker waits for a worker process that is not in before.
func (s Site) awaitNewWorker(ctx context.Context, before []string) error {
	for {
		after, err := s.Node.Processes(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(after, func(p string) bool { return !slices.Contains(before, p) }) {
			return nil
		}
		if !sleep.For(ctx, 5*time.Millisecond) {
			return errors.New("the balancer started no new process")
		}
	}
}
