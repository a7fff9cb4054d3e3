// Package target turns what the user named (a scenario, a plan, a configuration, one that is built in) into a plan, or reads just the
// configuration. It opens no connection and starts nothing.
//
// Its errors are mistakes of the user's: they name the flag or the file with its line.
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
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

// BuiltInPrefix begins the names of configurations that come with lbproof: builtin:<balancer>/<name>.
const BuiltInPrefix = "builtin:"

// Reader says how what the user named is to be read. Plan refuses what does not go with it.
type Reader struct {
	Balancer   string   // whose configuration it is; default: the file tells
	AllowPaths []string // folders outside the configuration's own, or the scenario's, that it may include files from

	// How a configuration becomes a plan.
	Scenario  string   // whose traffic it gets; default: experiments are designed for it
	Checks    []string // kinds of promises that experiments are designed for; default: all
	Balancers int      // with that configuration, in a designed run; at least 1
	Header    []string // NAME: VALUE that requests of designed experiments carry

	// PhaseDuration is how long phases of a scenario last that say for how long; default: as they say.
	PhaseDuration time.Duration

	scenarioDir fs.FS // of a scenario: its folder, which its configuration lies in
}

// Plan makes a valid plan of what the user named: a built-in scenario, a scenario file, a plan or a configuration.
func (r Reader) Plan(name string) (plan.Plan, error) {
	p, err := r.plan(name)
	if err == nil {
		if err := p.Validate(); err != nil {
			return p, fmt.Errorf("%s: %w", name, err)
		}
	}
	if r.Balancers < 1 {
		return p, fmt.Errorf("--balancers %d: there has to be one at least", r.Balancers)
	}
	if err != nil {
		return p, err
	}
	return p, r.checkUnusedFlags(name, p)
}

// checkUnusedFlags says which of the reader's orders a plan has not followed, because it is of no configuration.
func (r Reader) checkUnusedFlags(name string, p plan.Plan) error {
	isPeer := func(spec plan.Spec) bool { return spec.Role == plan.Peer }
	switch {
	case r.Balancers > 1 && !slices.ContainsFunc(p.Specs, isPeer):
		return fmt.Errorf("%s: --balancers is for configurations; a scenario or plan says itself who takes part", name)
	case len(r.Header) > 0 && p.ProbeHeader == nil:
		return fmt.Errorf("%s: --header is for configurations; a scenario or plan says itself what its requests are", name)
	case len(r.Checks) > 0 && !slices.Equal(p.Checks, plan.ToChecks(r.Checks)):
		return fmt.Errorf("%s: --checks is for configurations; a scenario or plan says itself what it decides", name)
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
		return plan.Plan{}, fmt.Errorf("no scenario and no file is called %s; the scenarios are %s", name, scenarioNames())
	case err != nil:
		return plan.Plan{}, fmt.Errorf("read %s: %w", name, errors.Unwrap(err))
	}
	isPlan := filepath.Ext(name) == ".json"
	ofItsOwn := isPlan || !info.IsDir() && isScenario(name)
	switch {
	case ofItsOwn && r.Scenario != "":
		return plan.Plan{}, errHasTraffic(name)
	case info.IsDir():
		return r.configuration(name)
	case isPlan && r.PhaseDuration != 0:
		return plan.Plan{}, fmt.Errorf("%s: --for changes scenarios; a plan says all itself", name)
	case isPlan:
		return readPlan(name)
	case ofItsOwn:
		return r.scenarioFile(name)
	}
	return r.configuration(name)
}

// scenarioNames are the names of the built-in scenarios.
func scenarioNames() string { return strings.Join(scenarios.List(), ", ") }

// errHasTraffic refuses another scenario's traffic.
func errHasTraffic(name string) error {
	return fmt.Errorf("%s says its traffic itself: --scenario is for configurations", name)
}

// isScenario reports whether a file is a scenario and no configuration: a YAML document with the key phases.
func isScenario(name string) bool {
	if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
		return false
	}
	text, err := source.ReadFile(name, source.MaxConfigBytes)
	return err != nil || !lbconfigs.IsDocument(string(text))
}

func (r Reader) builtInScenario(name string) (plan.Plan, error) {
	if r.Scenario != "" {
		return plan.Plan{}, errHasTraffic(name)
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
	if !strings.HasPrefix(config, BuiltInPrefix) && !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	p, err := r.withTraffic(s, config)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, source.ErrOutside) {
		return p, fmt.Errorf("%s:%d: config: %w", name, s.ConfigLine, err)
	}
	return p, err
}

// configuration designs experiments for a configuration, or puts it under a built-in scenario's traffic.
func (r Reader) configuration(name string) (plan.Plan, error) {
	if r.Scenario == "" {
		return r.design(name)
	}
	switch {
	case len(r.Header) > 0:
		return plan.Plan{}, fmt.Errorf("--header: the scenario %s says itself what its requests are", r.Scenario)
	case len(r.Checks) > 0:
		return plan.Plan{}, fmt.Errorf("--checks: the scenario %s says itself what it decides", r.Scenario)
	case !slices.Contains(scenarios.List(), r.Scenario):
		return plan.Plan{}, fmt.Errorf("no scenario is called %s; there are %s", r.Scenario, scenarioNames())
	}
	s, err := scenarios.Read(scenarios.BuiltIn, r.Scenario+".yaml")
	if err != nil {
		return plan.Plan{}, err
	}
	s.Name, s.Backends = RunName(name), nil
	return r.withTraffic(s, name)
}

// design designs experiments for a configuration.
func (r Reader) design(name string) (plan.Plan, error) {
	if r.PhaseDuration != 0 {
		return plan.Plan{}, fmt.Errorf("--for %s: lbproof designs the experiments for %s itself; "+
			"with --scenario soak they last so long", r.PhaseDuration, name)
	}
	cfg, specs, err := r.ConfigAndNodes(name)
	if err != nil {
		return plan.Plan{}, err
	}
	header, err := r.ProbeHeader()
	if err != nil {
		return plan.Plan{}, err
	}
	return experiments.Design(RunName(name), cfg, specs, experiments.Setup{
		CPUs: runtime.NumCPU(), Balancers: r.Balancers, ProbeHeader: header,
		Checks: plan.ToChecks(r.Checks), ExtendedTime: len(r.Checks) > 0,
	})
}

// withTraffic puts a configuration under a scenario's traffic.
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

// ProbeHeader is the header that requests of experiments carry, by canonical name.
func (r Reader) ProbeHeader() (map[string]string, error) {
	header := map[string]string{}
	for _, field := range r.Header {
		name, value, ok := strings.Cut(field, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		whole := ok && name != "" && value != ""
		switch {
		case !whole || strings.ContainsAny(field, "\r\n"):
			return nil, fmt.Errorf("--header %q: write NAME: VALUE, as 'Authorization: Bearer …'", field)
		case name == "Host":
			return nil, fmt.Errorf("--header %q: the configuration says which hosts are asked", field)
		case header[name] != "":
			return nil, fmt.Errorf("--header %q: %s is given twice", field, name)
		}
		header[name] = value
	}
	return header, nil
}

// ConfigAndNodes reads a configuration and what it needs to run.
func (r Reader) ConfigAndNodes(name string) (model.Config, []plan.Spec, error) {
	cfg, err := r.Config(name)
	if err != nil {
		return cfg, nil, err
	}
	specs, err := lbconfigs.Specs(cfg)
	return cfg, specs, err
}

// Config reads a configuration: a file, a folder, or builtin:<balancer>/<name>. Each of files stands in for the one of its name.
func (r Reader) Config(name string, files ...model.File) (model.Config, error) {
	if inside, ok := strings.CutPrefix(name, BuiltInPrefix); ok {
		cfg, err := lbconfigs.Read(source.Overlay{Base: lbconfigs.BuiltIn, Files: files}, inside, r.Balancer)
		if errors.Is(err, fs.ErrNotExist) {
			return cfg, fmt.Errorf("no configuration is called %s; lbproof list configurations shows them", name)
		}
		return cfg, err
	}
	if r.scenarioDir != nil {
		return lbconfigs.Read(source.Overlay{Base: r.scenarioDir, Files: files}, name, r.Balancer)
	}
	folder := filepath.Dir(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		folder = name
	}
	fsys, err := source.OpenFolders("configuration", append([]string{folder}, r.AllowPaths...)...)
	if err != nil {
		return model.Config{}, err
	}
	defer fsys.Close()
	return lbconfigs.Read(source.Overlay{Base: fsys, Files: files}, name, r.Balancer)
}

var nonNameChars = regexp.MustCompile(`[^a-z0-9]+`)

// RunName makes a file's name fit for a run.
func RunName(file string) string {
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	if name := strings.Trim(nonNameChars.ReplaceAllString(base, "-"), "-"); name != "" {
		return name
	}
	return "configuration"
}
