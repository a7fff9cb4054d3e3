// Package lbconfigs reads balancer configurations into model.Config and says what the runtime starts for them.
// It draws no claims (scenarios/checks does) and starts nothing (internal/stack does).
//
// To add a balancer: one file here with its Parse and Spec, one line in All, and its configurations in a folder of its name.
package lbconfigs

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Balancer is a kind of load balancer.
type Balancer struct {
	Name string
	Doc  string
	Main []string // the names that its main file has in a directory, the likeliest first; all that fit *.cfg belong together
	// Owns says whether a text reads like one of its configurations.
	Owns func(text string) bool
	// Parse reads the configuration of the main files called names, and what they include, from fsys. Its errors begin with
	// file:line. What the balancer would refuse, but can be read past, is a Problem and no error.
	Parse func(fsys fs.FS, names ...string) (model.Config, error)
	// Unknown is what becomes of a server whose host no name server can know.
	Unknown model.Effect
	// Spec is the node that runs the configuration; its ports and its needs are filled in by Specs.
	Spec func(model.Config) plan.Spec
	// Edits are how its lines are changed so that they promise something else.
	Edits Edits
}

// All is every balancer that can be read.
var All = []Balancer{
	nginx,   // nginx.conf and what it includes
	haproxy, // haproxy.cfg, or all *.cfg of a directory
	traefik, // the static file, and the dynamic ones that its file provider reads
}

// Find gives the balancer of that name.
func Find(name string) (Balancer, error) {
	var names []string
	for _, b := range All {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return Balancer{}, fmt.Errorf("no balancer is called %q; lbproof reads %s", name, strings.Join(names, ", "))
}

// BuiltIn holds the configurations that come with lbproof, as <balancer>/<name>.
//
//go:embed nginx haproxy traefik
var BuiltIn embed.FS

// Names lists the configurations that come with lbproof.
func Names() []string {
	names, err := fs.Glob(BuiltIn, "*/*")
	if err != nil {
		panic(err) // the pattern is good
	}
	return names
}

// Read parses the configuration called name in fsys: a file, or a directory whose files belong together. balancer names
// whose it is; where it is empty, that is seen from what stands in it.
func Read(fsys fs.FS, name, balancer string) (model.Config, error) {
	fsys = keep(fsys)
	if !isDir(fsys, name) {
		b, err := detect(fsys, name, balancer)
		if err != nil {
			return model.Config{}, err
		}
		return parse(b, fsys, name)
	}
	for _, b := range All {
		for _, pattern := range b.Main {
			found, err := glob(fsys, path.Join(name, pattern))
			if err == nil && len(found) > 0 && (balancer == "" || b.Name == balancer) {
				return parse(b, fsys, found...)
			}
		}
	}
	if balancer != "" {
		if _, err := Find(balancer); err != nil {
			return model.Config{}, err
		}
	}
	return model.Config{}, fmt.Errorf("%s: no file in it is called as a main file is (%s): name that file", name, strings.Join(mains(balancer), ", "))
}

// parse reads with one balancer's reader, and puts what it found in the order of the files and lines.
func parse(b Balancer, fsys fs.FS, names ...string) (model.Config, error) {
	cfg, err := b.Parse(fsys, names...)
	if err != nil {
		return model.Config{}, err
	}
	if err := hosts(&cfg, b.Unknown); err != nil {
		return model.Config{}, err
	}
	certificates(fsys, &cfg, time.Now())
	file := map[string]int{}
	for i, f := range cfg.Files {
		file[f.Name] = i
	}
	order := func(a, b model.Pos) int {
		return cmp.Or(cmp.Compare(file[a.File], file[b.File]), cmp.Compare(a.Line, b.Line))
	}
	slices.SortStableFunc(cfg.Problems, func(a, b model.Problem) int { return order(a.Pos, b.Pos) })
	slices.SortStableFunc(cfg.Unread, func(a, b model.Unread) int { return order(a.Pos, b.Pos) })
	cfg.Problems = slices.CompactFunc(cfg.Problems, func(a, b model.Problem) bool { return a == b })
	return cfg, nil
}

// mains are the names that main files have.
func mains(balancer string) []string {
	var names []string
	for _, b := range All {
		if balancer == "" || b.Name == balancer {
			names = append(names, b.Main...)
		}
	}
	return names
}

// detect finds out whose configuration a file is: by its name where that is a main file's, else by what it says.
func detect(fsys fs.FS, name, balancer string) (Balancer, error) {
	if balancer != "" {
		return Find(balancer)
	}
	text, err := readText(fsys, name)
	if err != nil {
		return Balancer{}, err
	}
	var owners []Balancer
	for _, b := range All {
		if b.Owns(string(text)) {
			owners = append(owners, b)
		}
	}
	if len(owners) == 1 {
		return owners[0], nil
	}
	for _, b := range All {
		for _, pattern := range b.Main {
			if ok, err := path.Match(pattern, path.Base(name)); ok && err == nil {
				return b, nil
			}
		}
	}
	return Balancer{}, fmt.Errorf("%s: it cannot be told which balancer this is for: say so with --balancer", name)
}

// IsDocument reports whether a YAML document reads like a file of a balancer whose configurations are YAML.
func IsDocument(text string) bool {
	return slices.ContainsFunc(All, func(b Balancer) bool {
		documents := slices.ContainsFunc(b.Main, func(name string) bool { return path.Ext(name) == ".yaml" })
		return documents && b.Owns(text)
	})
}

// hasWord says whether a line of the text begins with one of the words, comments aside.
func hasWord(text string, words ...string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, " \t")
		for _, w := range words {
			if strings.HasPrefix(line, w) {
				return true
			}
		}
	}
	return false
}

// fileless is the problem of a line that names a file that cannot be read.
func fileless(pos model.Pos, err error) model.Problem {
	return model.Problem{
		Pos: pos, Effect: model.Differs, Text: fmt.Sprintf("the balancer runs without the file: %v", err),
		Instead: "put it beside the configuration, or name its folder with --allow-path",
	}
}

// inContainer is where an included file belongs, for a main file that is put elsewhere.
func inContainer(at, main, file string) string {
	if path.IsAbs(file) && !path.IsAbs(main) {
		return file
	}
	return path.Join(path.Dir(at), strings.TrimPrefix(strings.TrimPrefix(file, path.Dir(main)), "/"))
}
