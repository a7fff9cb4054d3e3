// Package target turns the argument of a command (a scenario, a plan, a configuration file or a built-in one) into a
// plan, or just reads the configuration. It opens no connection and starts nothing.
//
// Its errors are mistakes of the user: they name the flag, or the file with its line, and the fix.
package target

import (
	"errors"
	"fmt"
	"io/fs"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/source"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

// BuiltInPrefix begins the names of built-in configurations: builtin:<balancer>/<name>.
const BuiltInPrefix = "builtin:"

// Reader has the flags for reading an argument. Plan reports flags that do not apply to it.
type Reader struct {
	Balancer   string   // balancer type (default: detected)
	AllowPaths []string // further folders that files may be included from

	// How to make a plan of a configuration.
	Scenario  string   // the built-in scenario with the traffic (default: designed phases)
	Checks    []string // kinds of claims to evaluate (default: all)
	Balancers int      // balancers with this configuration; at least 1
	Header    []string // NAME: VALUE to add to designed requests

	// PhaseDuration overrides the duration of a scenario's timed phases; 0 keeps it.
	PhaseDuration time.Duration

	scenarioDir fs.FS // of a scenario file: where its configuration is read from
}

// Plan returns a valid plan for a built-in scenario, a scenario file, a plan or a configuration.
func (r Reader) Plan(name string) (plan.Plan, error) {
	p, err := r.plan(name)
	if err == nil {
		if err := p.Validate(); err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
	}
	if r.Balancers < 1 {
		return p, fmt.Errorf("--balancers %d: must be at least 1", r.Balancers)
	}
	if err != nil {
		return p, err
	}
	return p, r.checkUnusedFlags(name, p)
}

// checkUnusedFlags reports a flag that had no effect because name is a scenario or a plan.
func (r Reader) checkUnusedFlags(name string, p plan.Plan) error {
	isPeer := func(spec plan.Spec) bool { return spec.Role == plan.Peer }
	switch {
	case r.Balancers > 1 && !slices.ContainsFunc(p.Specs, isPeer):
		return errOnlyConfigurations("--balancers", name)
	case len(r.Header) > 0 && p.ProbeHeader == nil:
		return errOnlyConfigurations("--header", name)
	case len(r.Checks) > 0 && !slices.Equal(p.Checks, plan.ToChecks(r.Checks)):
		return errOnlyConfigurations("--checks", name)
	}
	return nil
}

func (r Reader) plan(name string) (plan.Plan, error) {
	if slices.Contains(scenarios.List(), name) {
		return r.builtInScenario(name)
	}
	if strings.HasPrefix(name, BuiltInPrefix) {
		return r.configuration(name)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plan.Plan{}, missingTarget(name)
	case err != nil:
		return plan.Plan{}, fmt.Errorf("read %s: %w", name, errors.Unwrap(err))
	}
	if info.IsDir() {
		return r.configuration(name)
	}
	text, err := source.ReadFile(name, source.MaxConfigBytes)
	if err == nil {
		if err := checkForeign(name, text); err != nil {
			return plan.Plan{}, err
		}
	}
	isPlan := filepath.Ext(name) == ".json"
	isScenario := isYAML(name) && (err != nil || !lbconfigs.IsDocument(string(text)))
	switch {
	case (isPlan || isScenario) && r.Scenario != "":
		return plan.Plan{}, errOnlyConfigurations("--scenario", name)
	case isPlan && r.PhaseDuration != 0:
		return plan.Plan{}, fmt.Errorf("--for: cannot be used with the plan %s; change its phases instead", name)
	case isPlan:
		return readPlan(name)
	case isScenario:
		return r.scenarioFile(name)
	}
	return r.configuration(name)
}

// errOnlyConfigurations reports a flag that applies to configurations only.
func errOnlyConfigurations(flag, name string) error {
	kind := "scenario"
	if filepath.Ext(name) == ".json" {
		kind = "plan"
	}
	return fmt.Errorf("%s: can only be used with a configuration, not with the %s %q", flag, kind, name)
}

func isYAML(name string) bool {
	ext := filepath.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

func (r Reader) builtInScenario(name string) (plan.Plan, error) {
	if r.Scenario != "" {
		return plan.Plan{}, errOnlyConfigurations("--scenario", name)
	}
	s, err := scenarios.Read(scenarios.BuiltIn, name+".yaml")
	if err != nil {
		return plan.Plan{}, err
	}
	return r.withTraffic(s, s.Config)
}

func (r Reader) scenarioFile(name string) (plan.Plan, error) {
	folders, err := source.OpenFolders("scenario", append([]string{filepath.Dir(name)}, r.AllowPaths...)...)
	if err != nil {
		return plan.Plan{}, err
	}
	defer folders.Close()
	s, err := scenarios.Read(folders.AllowFile(name), name)
	if err != nil {
		return plan.Plan{}, err
	}
	r.scenarioDir = folders
	config := s.Config
	isPath := !strings.HasPrefix(config, BuiltInPrefix) && !runningBalancer.MatchString(config)
	if isPath && !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	p, err := r.withTraffic(s, config)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, source.ErrOutside) {
		return p, fmt.Errorf("%s:%d: config: %w", name, s.ConfigLine, err)
	}
	return p, err
}

// configuration plans designed phases for a configuration, or the traffic of a built-in scenario.
func (r Reader) configuration(name string) (plan.Plan, error) {
	if r.Scenario == "" {
		return r.design(name)
	}
	switch {
	case len(r.Header) > 0:
		return plan.Plan{}, fmt.Errorf("--header: cannot be combined with --scenario, which defines the requests")
	case len(r.Checks) > 0:
		return plan.Plan{}, fmt.Errorf("--checks: cannot be combined with --scenario, which defines the checks")
	case !slices.Contains(scenarios.List(), r.Scenario):
		return plan.Plan{}, fmt.Errorf("--scenario %q: no such scenario; %s", r.Scenario,
			units.DidYouMean(r.Scenario, scenarios.List(), "scenarios: "+strings.Join(scenarios.List(), ", ")))
	}
	s, err := scenarios.Read(scenarios.BuiltIn, r.Scenario+".yaml")
	if err != nil {
		return plan.Plan{}, err
	}
	s.Name, s.Backends = RunName(name), nil
	return r.withTraffic(s, name)
}

// design plans designed phases for a configuration.
func (r Reader) design(name string) (plan.Plan, error) {
	if r.PhaseDuration != 0 {
		return plan.Plan{}, fmt.Errorf("--for %s: needs a scenario; add --scenario (e.g. --scenario soak)",
			units.Notation(r.PhaseDuration))
	}
	cfg, specs, err := r.ConfigAndNodes(name)
	if err != nil {
		return plan.Plan{}, err
	}
	header, err := r.ProbeHeader()
	if err != nil {
		return plan.Plan{}, err
	}
	for _, name := range r.Checks {
		if !slices.Contains(checks.Names(), name) {
			return plan.Plan{}, fmt.Errorf("--checks: %q is not a check; %s", name,
				units.DidYouMean(name, checks.Names(), "lbproof list checks shows them"))
		}
	}
	return experiments.Design(RunName(name), cfg, specs, experiments.Setup{
		CPUs: runtime.NumCPU(), Balancers: r.Balancers, ProbeHeader: header,
		Checks: plan.ToChecks(r.Checks), ExtendedTime: len(r.Checks) > 0,
	})
}

// withTraffic plans the traffic of a scenario for a configuration.
func (r Reader) withTraffic(s scenarios.Scenario, config string) (plan.Plan, error) {
	if err := s.OverrideDuration(r.PhaseDuration); err != nil {
		return plan.Plan{}, err
	}
	cfg, specs, err := r.ConfigAndNodes(config)
	if err != nil {
		return plan.Plan{}, err
	}
	return s.Plan(cfg, specs)
}

// ProbeHeader returns the parsed Header, by canonical name.
func (r Reader) ProbeHeader() (map[string]string, error) {
	header := map[string]string{}
	for _, field := range r.Header {
		name, value, ok := strings.Cut(field, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		whole := ok && name != "" && value != ""
		switch {
		case !whole || strings.ContainsAny(field, "\r\n"):
			return nil, fmt.Errorf("--header %q: not a header; write NAME: VALUE (e.g. 'Authorization: Bearer …')", field)
		case name == "Host":
			return nil, fmt.Errorf("--header %q: Host cannot be set; the configuration determines the hosts", field)
		case header[name] != "":
			return nil, fmt.Errorf("--header %q: %s is set twice; keep one", field, name)
		}
		header[name] = value
	}
	return header, nil
}

// ConfigAndNodes reads a configuration and returns the nodes that it needs to run.
func (r Reader) ConfigAndNodes(name string) (model.Config, []plan.Spec, error) {
	cfg, err := r.Config(name)
	if err != nil {
		return cfg, nil, err
	}
	specs, err := lbconfigs.Specs(cfg)
	return cfg, specs, err
}

// Config reads a configuration: a file, a folder or builtin:<balancer>/<name>. Each of files replaces the one with its
// name.
func (r Reader) Config(name string, files ...model.File) (model.Config, error) {
	if inside, ok := strings.CutPrefix(name, BuiltInPrefix); ok {
		cfg, err := r.read(source.Overlay{Base: lbconfigs.BuiltIn, Files: files}, inside)
		if errors.Is(err, fs.ErrNotExist) {
			return cfg, missingBuiltIn(name)
		}
		return cfg, err
	}
	if r.scenarioDir != nil {
		return r.read(source.Overlay{Base: r.scenarioDir, Files: files}, name)
	}
	folder := filepath.Dir(name)
	switch info, err := os.Stat(name); {
	case errors.Is(err, fs.ErrNotExist):
		return model.Config{}, missingConfig(name)
	case err == nil && info.IsDir():
		folder = name
	}
	fsys, err := source.OpenFolders("configuration", append([]string{folder}, r.AllowPaths...)...)
	if err != nil {
		return model.Config{}, err
	}
	defer fsys.Close()
	return r.read(source.Overlay{Base: fsys, Files: files}, name)
}

// read reads a configuration and explains likely mistakes in its choice.
func (r Reader) read(fsys fs.FS, name string) (model.Config, error) {
	if r.Balancer != "" && !slices.Contains(balancerNames(), r.Balancer) {
		return model.Config{}, fmt.Errorf("--balancer: %q is not supported; %s", r.Balancer,
			units.DidYouMean(r.Balancer, balancerNames(), "use one of "+strings.Join(balancerNames(), ", ")))
	}
	text, err := source.Read(fsys, name, source.MaxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return model.Config{}, missingConfig(name)
	case err == nil:
		if err := checkForeign(name, text); err != nil {
			return model.Config{}, err
		}
	}
	cfg, err := lbconfigs.Read(fsys, name, r.Balancer)
	if below := mainFilesBelow(name); err != nil && len(below) > 0 {
		return cfg, fmt.Errorf("%w (found %s)", err, strings.Join(below, ", "))
	}
	return cfg, explainTemplate(err)
}

var nonNameChars = regexp.MustCompile(`[^a-z0-9]+`)

// RunName returns the name of runs of a configuration: lower-case letters, digits and hyphens.
func RunName(file string) string {
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	if name := strings.Trim(nonNameChars.ReplaceAllString(base, "-"), "-"); name != "" {
		return name
	}
	return "configuration"
}
