// Package lbconfigs reads balancer configurations into model.Config and lists the nodes that a run of one needs. It
// derives no claims (scenarios/checks does) and starts nothing (internal/stack does).
//
// To add a balancer, write a folder with its reader, edits, advice and built-in configurations that exports a
// reading.Balancer, and add one line to All.
package lbconfigs

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs/haproxy"
	"github.com/lbproof/lbproof/lbconfigs/nginx"
	"github.com/lbproof/lbproof/lbconfigs/reading"
	"github.com/lbproof/lbproof/lbconfigs/traefik"
)

// All is the table of balancers.
var All = []reading.Balancer{
	nginx.Balancer,   // nginx.conf and what it includes
	haproxy.Balancer, // haproxy.cfg, or all *.cfg of a directory
	traefik.Balancer, // the static file and the dynamic files of its file provider
}

// Find returns the balancer of that name.
func Find(name string) (reading.Balancer, error) {
	var names []string
	for _, b := range All {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return reading.Balancer{}, fmt.Errorf("unknown balancer %q; %s", name,
		units.DidYouMean(name, names, "use one of "+strings.Join(names, ", ")))
}

// Read parses the configuration called name in fsys: a file, or a directory whose files belong together. If balancer is
// empty, it is detected from the content. Errors start with the file, and with the line if there is one.
func Read(fsys fs.FS, name, balancer string) (model.Config, error) {
	fsys = reading.CacheFiles(fsys)
	if !reading.IsDir(fsys, name) {
		b, err := detect(fsys, name, balancer)
		if err != nil {
			return model.Config{}, err
		}
		return parse(b, fsys, name)
	}
	for _, b := range All {
		if balancer != "" && b.Name != balancer {
			continue
		}
		for _, pattern := range b.MainFiles {
			found, err := reading.Glob(fsys, path.Join(name, pattern))
			if err == nil && len(found) > 0 {
				return parse(b, fsys, found...)
			}
		}
	}
	if balancer != "" {
		if _, err := Find(balancer); err != nil {
			return model.Config{}, err
		}
	}
	return model.Config{}, fmt.Errorf("%s: no main configuration file found (looked for %s); pass the file explicitly",
		name, strings.Join(mainFileNames(balancer), ", "))
}

// parse runs a balancer's reader and sorts the problems and unread parts by file and line.
func parse(b reading.Balancer, fsys fs.FS, names ...string) (model.Config, error) {
	cfg, err := b.Parse(fsys, names...)
	if err != nil {
		return model.Config{}, err
	}
	if err := reading.CheckHosts(&cfg, b.InvalidHostEffect); err != nil {
		return model.Config{}, err
	}
	reading.CheckCertificates(fsys, &cfg, time.Now())
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

// mainFileNames returns the names of the main files of a balancer, or of all.
func mainFileNames(balancer string) []string {
	var names []string
	for _, b := range All {
		if balancer == "" || b.Name == balancer {
			names = append(names, b.MainFiles...)
		}
	}
	return names
}

// detect returns the balancer of a file: the only one that recognizes its content, else the one with that main file.
func detect(fsys fs.FS, name, balancer string) (reading.Balancer, error) {
	if balancer != "" {
		return Find(balancer)
	}
	text, err := reading.ReadText(fsys, name)
	if err != nil {
		return reading.Balancer{}, err
	}
	var owners []reading.Balancer
	for _, b := range All {
		if b.Recognizes(string(text)) {
			owners = append(owners, b)
		}
	}
	if len(owners) == 1 {
		return owners[0], nil
	}
	for _, b := range All {
		for _, pattern := range b.MainFiles {
			if ok, err := path.Match(pattern, path.Base(name)); ok && err == nil {
				return b, nil
			}
		}
	}
	return reading.Balancer{}, fmt.Errorf("%s: cannot detect the balancer; set --balancer", name)
}

// IsDocument reports whether a text looks like a configuration of a balancer that is configured in YAML.
func IsDocument(text string) bool {
	return slices.ContainsFunc(All, func(b reading.Balancer) bool {
		documents := slices.ContainsFunc(b.MainFiles, func(name string) bool { return path.Ext(name) == ".yaml" })
		return documents && b.Recognizes(text)
	})
}
