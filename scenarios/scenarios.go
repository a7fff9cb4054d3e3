// Package scenarios reads scenarios and turns them into plans. A scenario describes the traffic and the faults for a
// configuration; its plan writes out every default and lists every claim.
//
// To add a built-in scenario, add a YAML file here that matches scenario.schema.json.
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
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// BuiltIn holds the built-in scenarios, as <name>.yaml.
//
//go:embed *.yaml *.rules.yml
var BuiltIn embed.FS

// Scenario is a scenario file. The schema describes the fields and their defaults.
type Scenario struct {
	File       string            `yaml:"-"`
	ConfigLine int               `yaml:"-"`
	Name       string            `yaml:"name"`
	Doc        string            `yaml:"doc"`
	Config     string            `yaml:"config"`
	Alpha      float64           `yaml:"alpha"`
	Beta       float64           `yaml:"beta"`
	Seed       uint64            `yaml:"seed"`
	Checks     []plan.Check      `yaml:"checks"` // kinds of claims to evaluate; empty means all
	Backends   map[string]Limits `yaml:"backends"`
	Needs      []string          `yaml:"needs"` // dependencies of the backends, by short name
	Rules      string            `yaml:"rules"` // path of a Prometheus rule file
	Faults     []Fault           `yaml:"faults"`
	Phases     []Phase           `yaml:"phases"`

	RulesText []byte `yaml:"-"` // content of that file
}

// Fault is a fault to inject, once or repeatedly.
type Fault struct {
	Line     int           `yaml:"-"`
	Fault    plan.Fault    `yaml:"fault"`
	Target   string        `yaml:"target"` // a node, or a name that fits any configuration, see findTargets
	Peer     string        `yaml:"peer"`   // the other end of a broken network
	Phase    string        `yaml:"phase"`  // default: the first
	At       time.Duration `yaml:"at"`     // since the start of the phase
	Duration time.Duration `yaml:"for"`
	Times    int           `yaml:"times"` // number of repetitions
	Every    time.Duration `yaml:"every"` // between the starts of two repetitions
	Sweep    time.Duration `yaml:"sweep"` // spreads the repetitions over this time
	Adapt    bool          `yaml:"adapt"` // see Adapted
	With     plan.Settings `yaml:"with"`

	Designed bool `yaml:"-"` // by lbproof: Target is a node's name, even if it is "balancer"
}

// Limits are the resource limits of one backend.
type Limits struct {
	Line   int     `yaml:"-"`
	CPUs   float64 `yaml:"cpus"`   // cores
	Memory string  `yaml:"memory"` // e.g. 64MiB
}

// Phase is one phase of traffic.
type Phase struct {
	Line           int           `yaml:"-"`
	ExpectLines    []int         `yaml:"-"`
	Name           string        `yaml:"name"`
	Requests       int           `yaml:"requests"`
	Duration       time.Duration `yaml:"for"` // open loop, instead of Requests
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

// Clients are the clients of a phase.
type Clients struct {
	Count     int  `yaml:"count"`
	Addresses bool `yaml:"addresses"`
	Cookies   bool `yaml:"cookies"`
}

// Keys puts a key into every request of a phase.
type Keys struct {
	Header string   `yaml:"header"`
	Cookie string   `yaml:"cookie"`
	Values []string `yaml:"values"`
	Count  int      `yaml:"count"` // of generated values, instead of Values
	Zipf   float64  `yaml:"zipf"`
}

// BreakLimits ends a phase after the first second that exceeds one of them.
type BreakLimits struct {
	Errors string        `yaml:"errors"` // e.g. 1%
	P99    time.Duration `yaml:"p99"`
}

// Request is one request of a phase.
type Request struct {
	Method  string            `yaml:"method"`
	Port    int               `yaml:"port"` // default: the first that the configuration listens on
	Path    string            `yaml:"path"`
	Headers map[string]string `yaml:"headers"`
	Body    string            `yaml:"body"`
	Share   int               `yaml:"share"` // weight among the requests of the phase
}

// The defaults that the schema describes.
const (
	defaultErrorRate   = 0.001
	DefaultTimeout     = 30 * time.Second
	DefaultMaxInFlight = 256
	ProbeConcurrency   = 10
)

// defaultLimits are the limits of backends that the scenario does not mention.
var defaultLimits = Limits{CPUs: 0.25, Memory: "256MiB"}

// Plan returns the plan of the scenario for a configuration and its nodes.
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

// PlanWithoutTraffic returns a plan with claims and nodes only.
func (s Scenario) PlanWithoutTraffic(cfg model.Config, specs []plan.Spec) (plan.Plan, error) {
	p := plan.Plan{
		Schema: plan.PlanSchema, Name: s.Name, Config: cfg, Claims: checks.Claims(cfg),
		Alpha: cmp.Or(s.Alpha, defaultErrorRate), Beta: cmp.Or(s.Beta, defaultErrorRate), Checks: s.Checks,
		Bounds: plan.DefaultBounds(),
	}
	if len(cfg.Listeners) == 0 {
		return p, fmt.Errorf("%s: no HTTP listener; lbproof can only test HTTP traffic", cfg.Files[0].Name)
	}
	for _, name := range s.Checks {
		if _, err := checks.Find(name); err != nil {
			return p, fmt.Errorf("%s: checks: %q is not a check; %s", s.File, name,
				units.DidYouMean(string(name), checks.Names(), "lbproof list checks shows them"))
		}
	}
	if len(p.Claims) == 0 {
		return p, fmt.Errorf("%s: no claims found in this configuration; there is nothing to test", cfg.Files[0].Name)
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

// OverrideDuration overrides the duration of timed phases; zero changes nothing.
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
		return fmt.Errorf("--for %s: the scenario %s has no timed phase; use one that has, e.g. soak or ramp",
			units.Notation(d), s.Name)
	}
	return nil
}

// addExpectations adds a claim for each expectation of a phase. They are always evaluated.
func (s Scenario) addExpectations(pl *plan.Plan) error {
	expected := false
	for _, p := range s.Phases {
		for i, text := range p.Expect {
			pos := model.Pos{File: s.File, Line: p.ExpectLines[i]}
			e, err := plan.ParseExpectation(text)
			if err == nil {
				err = checkNames(*pl, e)
			}
			if err != nil {
				return fmt.Errorf("%s: expect: %w", pos, err)
			}
			expected = true
			pl.Claims = append(pl.Claims, plan.Claim{
				ID: string(plan.CheckExpect) + "/" + p.Name + "#" + text, Check: plan.CheckExpect, Subject: p.Name,
				Detail: text, Pos: pos, Expectation: &e,
				Text: fmt.Sprintf("Expected in phase %s: %s.", p.Name, text),
			})
		}
	}
	if expected && len(s.Checks) > 0 && !slices.Contains(s.Checks, plan.CheckExpect) {
		pl.Checks = append(slices.Clone(s.Checks), plan.CheckExpect)
	}
	return nil
}

// checkNames reports an expectation about a backend or an alert that does not exist.
func checkNames(p plan.Plan, e plan.Expectation) error {
	backends := backendNames(p.Specs)
	var alerts []string
	for _, q := range p.Queries {
		if q.Alert {
			alerts = append(alerts, q.Name)
		}
	}
	switch {
	case e.Backend != "" && !slices.Contains(backends, e.Backend):
		return notAmong(e.Backend, "a backend of the configuration", backends)
	case e.Alert != "" && !slices.Contains(alerts, e.Alert):
		return notAmong(e.Alert, "an alert in rules", alerts)
	}
	return nil
}

func backendNames(specs []plan.Spec) (names []string) {
	for _, spec := range specs {
		if spec.Role == plan.Backend {
			names = append(names, spec.Name)
		}
	}
	return names
}

// notAmong reports an unknown name, with the nearest known one or all of them.
func notAmong(name, what string, known []string) error {
	others := "there are none"
	if len(known) > 0 {
		others = "known: " + strings.Join(known, ", ")
	}
	return fmt.Errorf("%q is not %s; %s", name, what, units.DidYouMean(name, known, others))
}

// checkBackends reports limits of a backend that the configuration does not name, or that has limits already.
func (s Scenario) checkBackends(specs []plan.Spec) error {
	for name, limits := range s.Backends {
		for other, twice := range s.Backends {
			if other != name && model.SameHost(other, name) && twice.Line <= limits.Line {
				return fmt.Errorf("%s:%d: backends: %s and %s (line %d) are the same backend; keep one",
					s.File, limits.Line, name, other, twice.Line)
			}
		}
		isIt := func(spec plan.Spec) bool { return spec.Role == plan.Backend && model.SameHost(spec.Name, name) }
		if !slices.ContainsFunc(specs, isIt) {
			return fmt.Errorf("%s:%d: backends: %w", s.File, limits.Line,
				notAmong(name, "a backend of the configuration", backendNames(specs)))
		}
	}
	return nil
}

// phases returns a phase with the requests that the claims need, then the scenario's phases.
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
			return nil, fmt.Errorf("%s:%d: phase %q: another phase has this name; rename one", s.File, p.Line, p.Name)
		}
		load.Seed += uint64(i)
		loads = append(loads, load)
	}
	return loads, nil
}

// aimAtBackend completes a request so that it reaches a backend: without a port it goes to the first route that
// proxies, with the path and host of that route.
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
