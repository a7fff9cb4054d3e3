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
	Doc: "the balancer is told to take over its configuration, and at the end the one from before",
	Args: []Arg{
		{"change", Choice, "comment", "none, comment, remove, broken: none; a comment; " +
			"without the last server of the first pool with two or more; " +
			"one that it must reject, going on with the old one"},
		{"times", Count, "1", "how often, one right after the other"},
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
		if s.Node.Spec.ReloadSignal == "" && i < s.Args.count("times")-1 { // nobody knows when it has taken this one over
			put = func() error { return s.writeAndReload(ctx, model.NewFile(old.path, changed)) }
		}
		if err := put(); err != nil {
			return nil, errors.Join(err, s.writeAndReload(context.WithoutCancel(ctx), model.NewFile(old.path, old.file.Content)))
		}
	}
	return func(ctx context.Context) error { return applyConfig(ctx, s, old.path, old.file.Content, true) }, nil
}

// placedFile is a file of the configuration, and where it is in the container.
type placedFile struct {
	path string
	file *model.File
}

// mainFile is the file that is changed: the one that the first pool with two servers stands in.
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
	return placedFile{}, fmt.Errorf("%s is in no place of the container", name)
}

// firstRedundantPool is the first pool with two servers or more; nil where there is none.
func firstRedundantPool(cfg model.Config) *model.Pool {
	for i := range cfg.Pools {
		if len(cfg.Pools[i].Servers) > 1 {
			return &cfg.Pools[i]
		}
	}
	return nil
}

// changedConfig writes a configuration anew.
func changedConfig(how string, file model.File, cfg model.Config) ([]byte, error) {
	switch how {
	case "comment":
		return append(slices.Clone(file.Content), "\n# taken over\n"...), nil
	case "broken":
		return append(slices.Clone(file.Content), "\nbroken on purpose {\n"...), nil
	case "remove":
		pool := firstRedundantPool(cfg)
		if pool == nil {
			return nil, errors.New("no pool of the configuration can do without a server")
		}
		return removeLine(file.Content, pool.Servers[len(pool.Servers)-1].Pos.Line)
	}
	return file.Content, nil
}

// removeLine leaves out a line and those that belong to it, being further in.
func removeLine(text []byte, line int) ([]byte, error) {
	lines := bytes.SplitAfter(text, []byte("\n"))
	if line < 1 || line > len(lines) {
		return nil, fmt.Errorf("the file has no line %d", line)
	}
	indent := func(l []byte) int { return len(l) - len(bytes.TrimLeft(l, " \t")) }
	end := line
	for end < len(lines) && strings.TrimSpace(string(lines[end])) != "" && indent(lines[end]) > indent(lines[line-1]) {
		end++
	}
	return slices.Concat(slices.Concat(lines[:line-1]...), slices.Concat(lines[end:]...)), nil
}

// applyConfig puts a file in place and has the balancer take it over. It returns when new processes work, where it makes
// new ones. One that must be rejected makes none.
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

// writeAndReload puts files in place and tells the balancer.
func (s Site) writeAndReload(ctx context.Context, files ...model.File) error {
	if err := s.Node.Write(ctx, files...); err != nil {
		return fmt.Errorf("put %s in place: %w", path.Base(files[len(files)-1].Name), err)
	}
	if s.Node.Spec.ReloadSignal == "" {
		return nil
	}
	return s.Node.Signal(ctx, s.Node.Spec.ReloadSignal)
}

// watchDelay is how long a balancer that watches its files may take to take one over.
const watchDelay = 3 * time.Second

// confirmSameWorkers is an error where the workers are others than before.
func (s Site) confirmSameWorkers(ctx context.Context, before []string) error {
	after, err := s.Node.Processes(ctx)
	if err == nil && !slices.Equal(before, after) {
		err = fmt.Errorf("the balancer's processes are %s, and were %s, "+
			"though it should have rejected the configuration", strings.Join(after, ", "), strings.Join(before, ", "))
	}
	return err
}

// awaitNewWorker waits until a worker runs that was not there before.
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
			return errors.New("the balancer has made no new process")
		}
	}
}
