// Package lbconfigs reads balancer configurations into lb.Config and says what the runtime starts for them.
// It draws no claims (scenarios/checks does) and starts nothing (internal/stack does).
//
// To add a balancer: one file here with its Parse and Spec, one line in All, and its configurations in a folder of its name.
package lbconfigs

import (
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
)

// Balancer is a kind of load balancer.
type Balancer struct {
	Name   string
	Doc    string
	Suffix string // of its configuration files, as .conf
	// Parse reads the configuration called name, and what it includes, from fsys. Its errors begin with file:line.
	Parse func(fsys fs.FS, name string) (lb.Config, error)
	// Spec is the node that runs the configuration.
	Spec func(lb.Config) lb.Spec
}

// All is every balancer that can be read.
var All = []Balancer{
	nginx, // upstream, location, proxy_set_header, return
}

// Find gives the balancer of that name.
func Find(name string) (Balancer, error) {
	for _, b := range All {
		if b.Name == name {
			return b, nil
		}
	}
	return Balancer{}, fmt.Errorf("no balancer is called %q", name)
}

// BuiltIn holds the configurations that come with lbproof, as <balancer>/<name>.
//
//go:embed nginx
var BuiltIn embed.FS

// Read parses the configuration called name in fsys, for the balancer whose suffix it has, else for the first.
func Read(fsys fs.FS, name string) (lb.Config, error) {
	for _, b := range All {
		if path.Ext(name) == b.Suffix {
			return b.Parse(fsys, name)
		}
	}
	return All[0].Parse(fsys, name)
}

// Specs lists what a configuration needs to run: the balancer, and a backend for each host that it names.
func Specs(cfg lb.Config) ([]lb.Spec, error) {
	b, err := Find(cfg.Balancer)
	if err != nil {
		return nil, err
	}
	backends, err := backendSpecs(cfg)
	return append([]lb.Spec{b.Spec(cfg)}, backends...), err
}

// backendSpecs gives each upstream host one container that carries its name and listens on every port named with it.
func backendSpecs(cfg lb.Config) ([]lb.Spec, error) {
	var specs []lb.Spec
	for _, pool := range cfg.Pools {
		for _, server := range pool.Servers {
			if err := placeable(server); err != nil {
				return nil, err
			}
			at := slices.IndexFunc(specs, func(s lb.Spec) bool { return s.Name == server.Host })
			if at < 0 {
				specs = append(specs, lb.Spec{Name: server.Host, Role: lb.Backend, Restarts: true})
				at = len(specs) - 1
			}
			if !slices.Contains(specs[at].Ports, server.Port) {
				specs[at].Ports = append(specs[at].Ports, server.Port)
			}
		}
	}
	return specs, nil
}

// placeable says whether a container can stand where the configuration says the server is.
func placeable(s lb.Server) error {
	if _, err := netip.ParseAddr(strings.Trim(s.Host, "[]")); err == nil {
		return fmt.Errorf("%s: the upstream server %s is an IP address, and lbproof places backends by host name only: "+
			"name a host there (for example back-01:%d)", s.Pos, s.Addr(), s.Port)
	}
	switch {
	case s.Host == "localhost":
		return fmt.Errorf("%s: the upstream server %s is the balancer's own host, where no backend can stand: name another host", s.Pos, s.Addr())
	case s.Host == "" || strings.HasPrefix(s.Host, "unix:"):
		return fmt.Errorf("%s: the upstream server %q is a socket of the balancer's own host, where no backend can stand: use host:port", s.Pos, s.Host)
	case strings.ContainsAny(s.Host, "$/"):
		return fmt.Errorf("%s: the upstream server %q is known only while the balancer runs, so no backend can be placed for it", s.Pos, s.Host)
	}
	return nil
}

// inContainer is where an included file belongs, for a main file that is put elsewhere.
func inContainer(at, main, file string) string {
	if path.IsAbs(file) && !path.IsAbs(main) {
		return file
	}
	return path.Join(path.Dir(at), strings.TrimPrefix(strings.TrimPrefix(file, path.Dir(main)), "/"))
}
