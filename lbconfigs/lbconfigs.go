// Package lbconfigs reads balancer configurations into model.Config and says what the runtime starts for them.
// It draws no claims (scenarios/checks does) and starts nothing (internal/stack does).
//
// To add a balancer: a folder with its reader, edits and built-in configurations that gives a reading.Balancer, and one
// line in All.
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
	"github.com/lbproof/lbproof/lbconfigs/haproxy"
	"github.com/lbproof/lbproof/lbconfigs/nginx"
	"github.com/lbproof/lbproof/lbconfigs/reading"
	"github.com/lbproof/lbproof/lbconfigs/traefik"
)

// All is every balancer that can be read.
var All = []reading.Balancer{
	nginx.Balancer,   // nginx.conf and what it includes
	haproxy.Balancer, // haproxy.cfg, or all *.cfg of a directory
	traefik.Balancer, // the static file, and the dynamic ones that its file provider reads
}

// Find gives the balancer of that name.
func Find(name string) (reading.Balancer, error) {
	var names []string
	for _, b := range All {
		if b.Name == name {
			return b, nil
		}
		names = append(names, b.Name)
	}
	return reading.Balancer{}, fmt.Errorf("no balancer is called %q; lbproof reads %s", name, strings.Join(names, ", "))
}

// Read parses the configuration called name in fsys: a file, or a directory whose files belong together. balancer names
// whose it is; where it is empty, that is seen from what stands in it.
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
	return model.Config{}, fmt.Errorf("%s: no file in it is called as a main file is (%s): name that file",
		name, strings.Join(mainFileNames(balancer), ", "))
}

// parse reads with one balancer's reader, and puts what it found in the order of the files and lines.
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

// mainFileNames are the names that main files have.
func mainFileNames(balancer string) []string {
	var names []string
	for _, b := range All {
		if balancer == "" || b.Name == balancer {
			names = append(names, b.MainFiles...)
		}
	}
	return names
}

// detect finds out whose configuration a file is: by its name where that is a main file's, else by what it says.
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
	return reading.Balancer{}, fmt.Errorf("%s: it cannot be told which balancer this is for: say so with --balancer", name)
}

// IsDocument reports whether a YAML document reads like a file of a balancer whose configurations are YAML.
func IsDocument(text string) bool {
	return slices.ContainsFunc(All, func(b reading.Balancer) bool {
		documents := slices.ContainsFunc(b.MainFiles, func(name string) bool { return path.Ext(name) == ".yaml" })
		return documents && b.Recognizes(text)
	})
}
