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

// backendFlags returns the command-line flags that all backends share, which depend on the configuration.
func backendFlags(cfg model.Config) (flags []string) {
	option := func(name string, values []string) {
		if len(values) > 0 {
			flags = append(flags, name, strings.Join(values, ","))
		}
	}
	option("--observe", checks.Observed(cfg))
	option("--prefixes", routePrefixes(cfg))
	option("--health-paths", healthPaths(cfg))
	return flags
}

// prepareBackend sets the limits and the command line of a backend.
func (s Scenario) prepareBackend(spec *plan.Spec, flags []string) error {
	limits := s.limitsOf(spec.Name)
	if limits.Memory != "" {
		bytes, err := units.RAMInBytes(limits.Memory)
		if err != nil {
			return fmt.Errorf("%s:%d: backends.%s.memory: %w", s.File, limits.Line, spec.Name, err)
		}
		spec.Memory = bytes
	}
	spec.CPUs = limits.CPUs
	spec.ControlPort = 7070
	for slices.Contains(spec.Ports, spec.ControlPort) {
		spec.ControlPort++
	}
	var ports []string
	for _, p := range spec.Ports {
		ports = append(ports, strconv.Itoa(p))
	}
	spec.Env = map[string]string{"HOST_TAG": spec.Name}
	if spec.Memory > 0 {
		// The Go runtime does not read the container's limit. The rest is for sockets and the kernel.
		spec.Env["GOMEMLIMIT"] = strconv.FormatInt(spec.Memory*3/4, 10)
	}
	spec.Command = backendCommand(*spec, ports, flags)
	spec.HealthCommand = []string{"/lbproof", "backend", "--healthy", ports[0]}
	if slices.Contains(spec.TLSPorts, spec.Ports[0]) {
		spec.HealthCommand = append(spec.HealthCommand, "--tls", ports[0])
	}
	return nil
}

// backendCommand returns the command line of a backend. A helper has none of the shared flags.
func backendCommand(spec plan.Spec, ports, flags []string) []string {
	line := []string{
		"/lbproof", "backend", "--listen", strings.Join(ports, ","),
		"--control", strconv.Itoa(spec.ControlPort), "--ledger", plan.LedgerDir + "/arrivals",
	}
	if len(spec.TLSPorts) > 0 {
		line = append(line, "--certificate", spec.Needs[0].Path)
		for _, p := range spec.TLSPorts {
			line = append(line, "--tls", strconv.Itoa(p))
		}
	}
	if spec.Helper {
		return append(line, "--helper")
	}
	return append(line, flags...)
}

// limitsOf returns the limits of a backend, whose name may be spelled differently.
func (s Scenario) limitsOf(host string) Limits {
	for name, limits := range s.Backends {
		if model.SameHost(name, host) {
			return limits
		}
	}
	return defaultLimits
}

// healthPaths returns the paths of the balancer's own requests, which backends answer with 200: health checks and
// auth requests.
func healthPaths(cfg model.Config) []string {
	var paths []string
	add := func(path string) {
		if strings.HasPrefix(path, "/") && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if s.HealthCheck != nil {
				add(s.HealthCheck.Request.Path)
			}
		}
	}
	for _, r := range cfg.Routes {
		if !r.HasBackendAuth() {
			continue
		}
		for _, target := range cfg.Routes {
			if r.Auth.Target == target.Path {
				add(target.BackendPath(target.Path))
			}
		}
	}
	return paths
}

// routePrefixes returns the path prefixes of routes to backends, which serve their API below each.
func routePrefixes(cfg model.Config) []string {
	var all []string
	for _, r := range cfg.Routes {
		leads := r.Pool != "" && !r.Regex && !r.Exact
		if !leads {
			continue
		}
		for _, path := range []string{r.Path, r.BackendPath(r.Path)} {
			prefix := strings.TrimSuffix(path, "/")
			if strings.HasPrefix(prefix, "/") && !slices.Contains(all, prefix) {
				all = append(all, prefix)
			}
		}
	}
	return all
}
