// Package scenarios reads scenarios and makes plans of them. A scenario says which configuration is put under which
// traffic; a plan is the same with every default written out and every claim listed.
//
// To add a built-in scenario: one YAML file here. Its form is scenario.schema.json.
package scenarios

import (
	"cmp"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// BuiltIn holds the scenarios that come with lbproof, as <name>.yaml.
//
//go:embed *.yaml *.rules.yml
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
	Seed       uint64            `yaml:"seed"`
	Checks     []plan.Check      `yaml:"checks"` // the kinds of promises that it sets out to decide; empty is all
	Backends   map[string]Limits `yaml:"backends"`
	Needs      []string          `yaml:"needs"` // what the backends need themselves: names of dependencies
	Rules      string            `yaml:"rules"` // file with rules of Prometheus, beside the scenario
	Faults     []Fault           `yaml:"faults"`
	Phases     []Phase           `yaml:"phases"`

	RulesText []byte `yaml:"-"` // what that file holds
}

// Fault is something broken on purpose, for a time.
type Fault struct {
	Line     int           `yaml:"-"`
	Fault    plan.Fault    `yaml:"fault"`
	Target   string        `yaml:"target"` // a node, or what nodes of any configuration can be called by, see targets
	Peer     string        `yaml:"peer"`   // the other end
	Phase    string        `yaml:"phase"`  // the first where it is not given
	At       time.Duration `yaml:"at"`     // since that phase began
	Duration time.Duration `yaml:"for"`
	Times    int           `yaml:"times"` // it comes again so often in all,
	Every    time.Duration `yaml:"every"` // so far apart,
	Sweep    time.Duration `yaml:"sweep"` // and later by another part of this each time
	Adapt    bool          `yaml:"adapt"` // see adapted
	With     plan.Settings `yaml:"with"`

	Designed bool `yaml:"-"` // by lbproof: Target is a node's own name, be it "balancer"
}

// Limits of one backend's container.
type Limits struct {
	Line   int     `yaml:"-"`
	CPUs   float64 `yaml:"cpus"`   // cores
	Memory string  `yaml:"memory"` // as 64MiB
}

// Phase is one phase of traffic.
type Phase struct {
	Line           int           `yaml:"-"`
	ExpectLines    []int         `yaml:"-"`
	Name           string        `yaml:"name"`
	Requests       int           `yaml:"requests"`
	Duration       time.Duration `yaml:"for"` // of an open loop, instead of requests
	Concurrency    int           `yaml:"concurrency"`
	Rate           Rate          `yaml:"rate"`
	ThinkTime      time.Duration `yaml:"think"`
	Timeout        time.Duration `yaml:"timeout"`
	Protocol       string        `yaml:"protocol"`
	Engine         plan.Engine   `yaml:"engine"`
	NewConnections bool          `yaml:"fresh-connections"`
	FullHandshakes bool          `yaml:"full-handshakes"`
	Verify         bool          `yaml:"verify"`
	PreciseTiming  bool          `yaml:"precise"`
	Clients        Clients       `yaml:"clients"`
	Keys           Keys          `yaml:"keys"`
	BreakLimits    BreakLimits   `yaml:"breaks"`
	Send           []Request     `yaml:"send"`
	Expect         []string      `yaml:"expect"`
}

// Clients are who sends a phase.
type Clients struct {
	Count     int  `yaml:"count"`
	Addresses bool `yaml:"addresses"`
	Cookies   bool `yaml:"cookies"`
}

// Keys puts a key into each request of a phase.
type Keys struct {
	Header string   `yaml:"header"`
	Cookie string   `yaml:"cookie"`
	Values []string `yaml:"values"`
	Count  int      `yaml:"count"` // of made-up values, instead of values
	Zipf   float64  `yaml:"zipf"`
}

// BreakLimits ends a phase in the first second that is worse.
type BreakLimits struct {
	Errors string        `yaml:"errors"` // as 1%
	P99    time.Duration `yaml:"p99"`
}

// Request is one request of a phase.
type Request struct {
	Method  string            `yaml:"method"`
	Port    int               `yaml:"port"` // the first that the configuration listens on where it is not given
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Share   int               `yaml:"share"` // of the phase's requests, beside the others' shares
}

// Defaults, as the schema tells them.
const (
	defaultErrorRate   = 0.001
	DefaultTimeout     = 30 * time.Second
	DefaultMaxInFlight = 256
	ProbeConcurrency   = 10
)

// defaultLimits are those of a backend that the scenario says nothing of.
var defaultLimits = Limits{CPUs: 0.25, Memory: "256MiB"}

// Plan writes out all that a run of the scenario needs, for a configuration and the nodes that it needs.
func (s Scenario) Plan(cfg model.Config, specs []plan.Spec) (plan.Plan, error) {
	p, err := s.PlanWithoutTraffic(cfg, specs)
	if err != nil {
		return p, err
	}
	if err := s.addExpectations(&p); err != nil {
		return p, err
	}
	if p.Phases, err = s.phases(p); err != nil {
		return p, err
	}
	return p, s.Events(&p)
}

// PlanWithoutTraffic is a plan without traffic: the claims and the nodes.
func (s Scenario) PlanWithoutTraffic(cfg model.Config, specs []plan.Spec) (plan.Plan, error) {
	p := plan.Plan{
		Schema: plan.PlanSchema, Name: s.Name, Config: cfg, Claims: checks.Claims(cfg),
		Alpha: cmp.Or(s.Alpha, defaultErrorRate), Beta: cmp.Or(s.Beta, defaultErrorRate), Checks: s.Checks,
		Bounds: plan.DefaultBounds(),
	}
	if len(cfg.Listeners) == 0 {
		return p, fmt.Errorf("%s: nothing in it listens for HTTP, which is all that lbproof sends", cfg.Files[0].Name)
	}
	for _, name := range s.Checks {
		if _, err := checks.Find(name); err != nil {
			return p, fmt.Errorf("%s: %w; lbproof list checks shows them", s.File, err)
		}
	}
	if len(p.Claims) == 0 {
		return p, fmt.Errorf("%s: lbproof finds no promise in this configuration: nothing could be proven", cfg.Files[0].Name)
	}
	flags := backendFlags(cfg)
	for _, spec := range specs {
		if spec.Role == plan.Backend {
			if err := s.prepareBackend(&spec, flags); err != nil {
				return p, err
			}
		}
		p.Specs = append(p.Specs, spec)
	}
	if err := s.checkBackends(specs); err != nil {
		return p, err
	}
	if err := s.addMonitor(&p); err != nil {
		return p, err
	}
	return p, s.addDependencies(&p)
}

// OverrideDuration changes how long the phases last that say for how long; zero changes nothing.
func (s *Scenario) OverrideDuration(d time.Duration) error {
	if d == 0 {
		return nil
	}
	changed := false
	for i := range s.Phases {
		if s.Phases[i].Duration > 0 && s.Phases[i].Rate.Spike == nil {
			s.Phases[i].Duration, changed = d, true
		}
	}
	if !changed || d < 0 {
		return fmt.Errorf("--for %s: the scenario %s has no phase that can last so long; soak and ramp have", d, s.Name)
	}
	return nil
}

// addExpectations makes a claim of each line that a phase expects. They are always decided.
func (s Scenario) addExpectations(pl *plan.Plan) error {
	expected := false
	for _, p := range s.Phases {
		for i, text := range p.Expect {
			pos := model.Pos{File: s.File, Line: p.ExpectLines[i]}
			e, err := plan.ParseExpectation(text)
			if err != nil {
				return fmt.Errorf("%s: expect: %w", pos, err)
			}
			expected = true
			pl.Claims = append(pl.Claims, plan.Claim{
				ID: string(plan.CheckExpect) + "/" + p.Name + "#" + text, Check: plan.CheckExpect, Subject: p.Name,
				Pos: pos, Expectation: &e,
				Text: fmt.Sprintf("The scenario expects of its phase %s: %s.", p.Name, text),
			})
		}
	}
	if expected && len(s.Checks) > 0 && !slices.Contains(s.Checks, plan.CheckExpect) {
		pl.Checks = append(slices.Clone(s.Checks), plan.CheckExpect)
	}
	return nil
}

// checkBackends says whether every backend that the scenario limits is one that the configuration names.
func (s Scenario) checkBackends(specs []plan.Spec) error {
	for name, limits := range s.Backends {
		for other, twice := range s.Backends {
			if other != name && model.SameHost(other, name) && twice.Line <= limits.Line {
				return fmt.Errorf("%s:%d: %s is the backend %s of line %d: give its limits once",
					s.File, limits.Line, name, other, twice.Line)
			}
		}
		isIt := func(spec plan.Spec) bool { return spec.Role == plan.Backend && model.SameHost(spec.Name, name) }
		if !slices.ContainsFunc(specs, isIt) {
			return fmt.Errorf("%s:%d: the configuration names no backend %s", s.File, limits.Line, name)
		}
	}
	return nil
}

// phases are the probes that the claims need, then the scenario's own phases.
func (s Scenario) phases(pl plan.Plan) ([]plan.Phase, error) {
	var loads []plan.Phase
	decided := slices.DeleteFunc(slices.Clone(pl.Claims), func(c plan.Claim) bool { return !pl.Decides(c) })
	if probes := checks.ExtraRequests(pl.Config, decided); len(probes) > 0 {
		each := stats.SamplesToDetect(0.01, 1-pl.Beta)
		loads = append(loads, plan.Phase{
			Name: "probes", Engine: plan.Goroutines, Count: each * len(probes), Concurrency: ProbeConcurrency,
			Timeout: DefaultTimeout, Requests: probes,
		})
	}
	for i, p := range s.Phases {
		load, err := s.phase(p, pl.Config)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(loads, func(l plan.Phase) bool { return l.Name == p.Name }) {
			return nil, fmt.Errorf("%s:%d: phase %s: another phase has this name", s.File, p.Line, p.Name)
		}
		load.Seed += uint64(i)
		loads = append(loads, load)
	}
	return loads, nil
}

// aimAtBackend sends a request where the configuration takes it to a backend: one that names no port goes to the first route
// that proxies, under that route's path and host. A port that is named stays.
func aimAtBackend(cfg model.Config, r plan.Request) plan.Request {
	if r.Port != 0 {
		r.TLS = slices.ContainsFunc(cfg.Listeners, func(l model.Listener) bool { return l.Port == r.Port && l.TLS })
		return r
	}
	first := cfg.Listeners[0]
	r.Port, r.TLS = first.Port, first.TLS
	if route, ok := cfg.Route(r.Port, r.Header["Host"], r.Path); ok && route.Pool != "" || r.Header["Host"] != "" {
		return r
	}
	for _, route := range cfg.Routes {
		host, ok := route.ProbeHost()
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
