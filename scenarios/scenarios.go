// Package scenarios reads scenarios and makes plans of them. A scenario says which configuration is put under which
// traffic; a plan is the same with every default written out and every claim listed.
//
// To add a built-in scenario: one YAML file here. Its form is scenario.schema.json.
package scenarios

import (
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/faults"
)

// BuiltIn holds the scenarios that come with lbproof, as <name>.yaml.
//
//go:embed *.yaml
var BuiltIn embed.FS

// Scenario is a scenario file. Fields that are not given have the defaults that the schema names.
type Scenario struct {
	File       string            `yaml:"-"`
	ConfigLine int               `yaml:"-"`
	Name       string            `yaml:"name"`
	Doc        string            `yaml:"doc"`
	Config     string            `yaml:"config"`
	Alpha      float64           `yaml:"alpha"`
	Beta       float64           `yaml:"beta"`
	Checks     []string          `yaml:"checks"` // the kinds of promises that it sets out to decide; empty is all
	Backends   map[string]Limits `yaml:"backends"`
	Faults     []Fault           `yaml:"faults"`
	Phases     []Phase           `yaml:"phases"`
}

// Fault is something broken on purpose, for a time.
type Fault struct {
	Line   int           `yaml:"-"`
	Fault  string        `yaml:"fault"`
	Target string        `yaml:"target"`
	At     time.Duration `yaml:"at"` // since the first request
	For    time.Duration `yaml:"for"`
}

// Limits of one backend's container.
type Limits struct {
	Line   int     `yaml:"-"`
	CPUs   float64 `yaml:"cpus"`   // cores
	Memory string  `yaml:"memory"` // as 64MiB
}

// Phase is one phase of traffic.
type Phase struct {
	Name        string        `yaml:"name"`
	Requests    int           `yaml:"requests"`
	Concurrency int           `yaml:"concurrency"`
	Rate        float64       `yaml:"rate"` // requests per second
	Timeout     time.Duration `yaml:"timeout"`
	Send        []Request     `yaml:"send"`
}

// Request is one request of a phase.
type Request struct {
	Method  string            `yaml:"method"`
	Port    int               `yaml:"port"` // the first that the configuration listens on where it is not given
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
}

// Defaults, as the schema tells them.
const (
	defaultError    = 0.001
	defaultTimeout  = 30 * time.Second
	defaultInFlight = 256
	probesInFlight  = 10
)

// defaultLimits are those of a backend that the scenario says nothing of.
var defaultLimits = Limits{CPUs: 0.25, Memory: "128MiB"}

// Plan writes out all that a run of the scenario needs, for a configuration and the nodes that it needs.
func (s Scenario) Plan(cfg lb.Config, specs []lb.Spec) (lb.Plan, error) {
	plan := lb.Plan{
		Schema: lb.PlanSchema, Name: s.Name, Config: cfg, Claims: checks.Claims(cfg),
		Alpha: or(s.Alpha, defaultError), Beta: or(s.Beta, defaultError), Checks: s.Checks,
	}
	if len(cfg.Listeners) == 0 {
		return plan, fmt.Errorf("%s: nothing in it listens for HTTP, which is all that lbproof sends", cfg.Files[0].Name)
	}
	for _, name := range s.Checks {
		if _, err := checks.Find(name); err != nil {
			return plan, fmt.Errorf("%s: %w; lbproof list checks shows them", s.File, err)
		}
	}
	if len(plan.Claims) == 0 {
		return plan, fmt.Errorf("%s: lbproof finds no promise in this configuration: nothing could be proven", cfg.Files[0].Name)
	}
	for _, spec := range specs {
		if spec.Role == lb.Backend {
			if err := s.backend(&spec, cfg); err != nil {
				return plan, err
			}
		}
		plan.Specs = append(plan.Specs, spec)
	}
	if err := s.placed(specs); err != nil {
		return plan, err
	}
	plan.Loads = s.loads(plan)
	return plan, s.events(&plan)
}

// events puts the scenario's faults on the plan's clock.
func (s Scenario) events(plan *lb.Plan) error {
	for _, f := range s.Faults {
		if _, err := faults.Find(f.Fault); err != nil {
			return fmt.Errorf("%s:%d: %w; lbproof list faults shows them", s.File, f.Line, err)
		}
		if !slices.ContainsFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Name == f.Target }) {
			return fmt.Errorf("%s:%d: the run has no node %s to break", s.File, f.Line, f.Target)
		}
		plan.Events = append(plan.Events, lb.Event{At: f.At, For: f.For, Fault: f.Fault, Target: f.Target})
	}
	return nil
}

// placed says whether every backend that the scenario limits is one that the configuration names.
func (s Scenario) placed(specs []lb.Spec) error {
	for name, limits := range s.Backends {
		if !slices.ContainsFunc(specs, func(spec lb.Spec) bool { return spec.Role == lb.Backend && spec.Name == name }) {
			return fmt.Errorf("%s:%d: the configuration names no backend %s", s.File, limits.Line, name)
		}
	}
	return nil
}

// loads are the probes that the claims need, then the scenario's own phases.
func (s Scenario) loads(plan lb.Plan) []lb.Load {
	var loads []lb.Load
	decided := slices.DeleteFunc(slices.Clone(plan.Claims), func(c lb.Claim) bool { return !plan.Decides(c) })
	if probes := checks.Probes(plan.Config, decided); len(probes) > 0 {
		each := stats.NeedToSee(0.01, 1-plan.Beta)
		loads = append(loads, lb.Load{
			Name: "probes", Count: each * len(probes), Concurrency: probesInFlight, Timeout: defaultTimeout, Requests: probes,
		})
	}
	for _, p := range s.Phases {
		load := lb.Load{
			Name: p.Name, Count: p.Requests, Concurrency: or(p.Concurrency, defaultInFlight), Rate: p.Rate,
			Timeout: or(p.Timeout, defaultTimeout),
		}
		for _, r := range p.Send {
			load.Requests = append(load.Requests, aim(plan.Config, lb.Request{
				Method: or(r.Method, "GET"), Port: r.Port, Path: r.Path, Header: r.Headers, Body: lb.Bytes(r.Body),
			}))
		}
		loads = append(loads, load)
	}
	return loads
}

// aim sends a request where the configuration takes it to a backend: one that names no port goes to the first route that
// proxies, under that route's path and host. A port that is named stays.
func aim(cfg lb.Config, r lb.Request) lb.Request {
	if r.Port != 0 {
		r.TLS = slices.ContainsFunc(cfg.Listeners, func(l lb.Listener) bool { return l.Port == r.Port && l.TLS })
		return r
	}
	first := cfg.Listeners[0]
	r.Port, r.TLS = first.Port, first.TLS
	if route, ok := cfg.Route(r.Port, r.Header["Host"], r.Path); ok && route.Pool != "" || r.Header["Host"] != "" {
		return r
	}
	for _, route := range cfg.Routes {
		host, ok := route.Askable()
		if !ok || route.Pool == "" || route.Redirect != nil {
			continue
		}
		if host != "" {
			r.Header = maps.Clone(r.Header)
			if r.Header == nil {
				r.Header = map[string]string{}
			}
			r.Header["Host"] = host
		}
		r.Port, r.TLS = route.Port, route.TLS
		if route.Exact {
			r.Path = route.Path
		} else {
			r.Path = strings.TrimSuffix(route.Path, "/") + r.Path
		}
		break
	}
	return r
}

// or is value, or otherwise where value is zero.
func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
