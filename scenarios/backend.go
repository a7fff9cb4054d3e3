package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// served is the part of a backend's command line that all have in common: what the configuration has them note and
// answer.
func served(cfg model.Config) (flags []string) {
	option := func(name string, values []string) {
		if len(values) > 0 {
			flags = append(flags, name, strings.Join(values, ","))
		}
	}
	option("--observe", checks.Observed(cfg))
	option("--prefixes", prefixes(cfg))
	option("--health-paths", healthPaths(cfg))
	return flags
}

// backend fills in what the harness's own backend needs: its limits and its command line, which ends in what is served.
func (s Scenario) backend(spec *plan.Spec, flags []string) error {
	limits := s.limits(spec.Name)
	if limits.Memory != "" {
		bytes, err := units.RAMInBytes(limits.Memory)
		if err != nil {
			return fmt.Errorf("%s:%d: memory of %s: %w", s.File, limits.Line, spec.Name, err)
		}
		spec.Memory = bytes
	}
	spec.CPUs = limits.CPUs
	spec.Control = 7070
	for slices.Contains(spec.Ports, spec.Control) {
		spec.Control++
	}
	var ports []string
	for _, p := range spec.Ports {
		ports = append(ports, strconv.Itoa(p))
	}
	spec.Env = map[string]string{"HOST_TAG": spec.Name}
	if spec.Memory > 0 {
		// which the Go runtime does not find out by itself; the rest is for sockets and stacks of the kernel's
		spec.Env["GOMEMLIMIT"] = strconv.FormatInt(spec.Memory*3/4, 10)
	}
	spec.Command = backendCommand(*spec, ports, flags)
	spec.Health = []string{"/lbproof", "backend", "--healthy", ports[0]}
	if slices.Contains(spec.TLS, spec.Ports[0]) {
		spec.Health = append(spec.Health, "--tls", ports[0])
	}
	return nil
}

// backendCommand is a backend's command line. A helper serves none of what the others do.
func backendCommand(spec plan.Spec, ports, flags []string) []string {
	line := []string{
		"/lbproof", "backend", "--listen", strings.Join(ports, ","),
		"--control", strconv.Itoa(spec.Control), "--ledger", plan.LedgerDir + "/arrivals",
	}
	if len(spec.TLS) > 0 {
		line = append(line, "--certificate", spec.Needs[0].Path)
		for _, p := range spec.TLS {
			line = append(line, "--tls", strconv.Itoa(p))
		}
	}
	if spec.Helper {
		return append(line, "--helper")
	}
	return append(line, flags...)
}

// limits are what the scenario says of a backend, by any of its name's spellings.
func (s Scenario) limits(host string) Limits {
	for name, limits := range s.Backends {
		if model.SameHost(name, host) {
			return limits
		}
	}
	return defaultLimits
}

// healthPaths are the paths that the balancer itself asks for, which backends answer 200: those of its health checks,
// and those by which it lets a backend decide whether a request may pass.
func healthPaths(cfg model.Config) []string {
	var paths []string
	add := func(path string) {
		if strings.HasPrefix(path, "/") && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.Active != nil {
				add(s.Active.Request.Path)
			}
		}
	}
	for _, r := range cfg.Routes {
		if !r.AsksBackend() {
			continue
		}
		for _, asked := range cfg.Routes {
			if r.Auth.By == asked.Path {
				add(asked.Seen(asked.Path))
			}
		}
	}
	return paths
}

// prefixes are the paths below which routes lead to backends, which serve their API below each.
func prefixes(cfg model.Config) []string {
	var all []string
	for _, r := range cfg.Routes {
		leads := r.Pool != "" && !r.Regex && !r.Exact
		if !leads {
			continue
		}
		for _, path := range []string{r.Path, r.Seen(r.Path)} {
			prefix := strings.TrimSuffix(path, "/")
			if strings.HasPrefix(prefix, "/") && !slices.Contains(all, prefix) {
				all = append(all, prefix)
			}
		}
	}
	return all
}
