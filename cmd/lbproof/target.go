package main

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

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/source"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

// input says where a configuration is and how it is to be read; its flags are those of every verb that takes one.
type input struct {
	balancer  string
	allow     []string
	scenario  string        // whose traffic a configuration gets
	checks    []string      // kinds of promises that experiments are designed for; none: all
	balancers int           // with that configuration, in a designed run
	header    []string      // NAME: VALUE that requests of designed experiments carry
	lasts     time.Duration // of a scenario's phases that say for how long, where it is not zero
	within    fs.FS         // of a scenario: its folder, which its configuration lies in
}

func (s *input) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.balancer, "balancer", "", "whose configuration it is, where the file does not tell (nginx, haproxy, traefik)")
	cmd.Flags().StringSliceVar(&s.allow, "allow-path", nil, "a folder outside the configuration's own, or the scenario's, from which it may include files")
}

// headerFlag is that of verbs that design experiments.
func (s *input) headerFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.header, "header", nil, "NAME: VALUE that every request of the experiments carries, and without which something that lbproof cannot read lets none through: a session, a key, a password")
}

// trafficFlags are those of verbs that take a scenario too.
func (s *input) trafficFlags(cmd *cobra.Command) {
	s.headerFlag(cmd)
	cmd.Flags().StringVar(&s.scenario, "scenario", "", "a built-in scenario whose traffic a configuration gets, and whose expectations, instead of experiments designed for it")
	_ = cmd.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(scenarios.List(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringSliceVar(&s.checks, "checks", nil, "the kinds of promises that experiments are designed for, as tls,response; others are listed and change no exit code, and deaths may take longer")
	_ = cmd.RegisterFlagCompletionFunc("checks", cobra.FixedCompletions(checks.Names(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().IntVar(&s.balancers, "balancers", 1, "how many balancers have the configuration: experiments ask the limits of each of them")
	cmd.Flags().DurationVar(&s.lasts, "for", 0, "how long the scenario's phases last that say for how long, as 8h")
}

// carried is the header that experiments' requests carry.
func (s input) carried() (map[string]string, error) {
	header := map[string]string{}
	for _, field := range s.header {
		name, value, ok := strings.Cut(field, ":")
		name, value = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || name == "" || value == "" || strings.ContainsAny(field, "\r\n"):
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

const builtIn = "builtin:"

// read reads a configuration: a path, or builtin:<balancer>/<name>.
func (s input) read(name string) (model.Config, error) { return s.reread(name, nil) }

// reread reads a configuration some of whose files are others.
func (s input) reread(name string, files []model.File) (model.Config, error) {
	if inside, ok := strings.CutPrefix(name, builtIn); ok {
		cfg, err := lbconfigs.Read(source.Overlay{Below: lbconfigs.BuiltIn, Files: files}, inside, s.balancer)
		if errors.Is(err, fs.ErrNotExist) {
			return cfg, fmt.Errorf("no configuration is called %s; lbproof list configurations shows them", name)
		}
		return cfg, err
	}
	if s.within != nil {
		return lbconfigs.Read(source.Overlay{Below: s.within, Files: files}, name, s.balancer)
	}
	folder := filepath.Dir(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		folder = name
	}
	fsys, err := source.Confine("configuration", append([]string{folder}, s.allow...)...)
	if err != nil {
		return model.Config{}, err
	}
	defer fsys.Close()
	return lbconfigs.Read(source.Overlay{Below: fsys, Files: files}, name, s.balancer)
}

// readTarget makes a plan of what the user named: a built-in scenario, a scenario file, a plan or a configuration.
func readTarget(target string, src input) (plan.Plan, error) {
	p, err := readAny(target, src)
	if err == nil {
		if err := p.Validate(); err != nil {
			return p, fmt.Errorf("%s: %w", target, err)
		}
	}
	if src.balancers < 1 {
		return p, fmt.Errorf("--balancers %d: there has to be one at least", src.balancers)
	}
	if err == nil && src.balancers > 1 && !slices.ContainsFunc(p.Specs, func(spec plan.Spec) bool { return spec.Role == plan.Peer }) {
		return p, fmt.Errorf("%s: --balancers is for configurations; a scenario or plan says itself who takes part", target)
	}
	if err == nil && len(src.header) > 0 && p.Carried == nil {
		return p, fmt.Errorf("%s: --header is for configurations; a scenario or plan says itself what its requests are", target)
	}
	if err == nil && len(src.checks) > 0 && !slices.Equal(p.Checks, plan.ChecksOf(src.checks)) {
		return p, fmt.Errorf("%s: --checks is for configurations; a scenario or plan says itself what it decides", target)
	}
	return p, err
}

func readAny(target string, src input) (plan.Plan, error) {
	if slices.Contains(scenarios.List(), target) && src.scenario != "" {
		return plan.Plan{}, fmt.Errorf("%s says its traffic itself: --scenario is for configurations", target)
	}
	if slices.Contains(scenarios.List(), target) {
		s, err := scenarios.Read(scenarios.BuiltIn, target+".yaml")
		if err != nil {
			return plan.Plan{}, err
		}
		return planOf(s, s.Config, src)
	}
	if strings.HasPrefix(target, builtIn) {
		return configFile(target, src)
	}
	info, err := os.Stat(target)
	if src.scenario != "" && err == nil && (filepath.Ext(target) == ".json" || !info.IsDir() && isScenario(target)) {
		return plan.Plan{}, fmt.Errorf("%s says its traffic itself: --scenario is for configurations", target)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return plan.Plan{}, fmt.Errorf("no scenario and no file is called %s; the scenarios are %s", target, strings.Join(scenarios.List(), ", "))
	case err != nil:
		return plan.Plan{}, fmt.Errorf("read %s: %w", target, errors.Unwrap(err))
	case info.IsDir():
		return configFile(target, src)
	case filepath.Ext(target) == ".json" && src.lasts != 0:
		return plan.Plan{}, fmt.Errorf("%s: --for changes scenarios; a plan says all itself", target)
	case filepath.Ext(target) == ".json":
		return readPlan(target)
	case isScenario(target):
		return scenarioFile(target, src)
	}
	return configFile(target, src)
}

// isScenario says whether a file is a scenario and no configuration: a YAML document with the key phases.
func isScenario(name string) bool {
	if ext := filepath.Ext(name); ext != ".yaml" && ext != ".yml" {
		return false
	}
	text, err := source.ReadFile(name, source.Largest)
	return err != nil || !lbconfigs.IsDocument(string(text))
}

func scenarioFile(name string, src input) (plan.Plan, error) {
	folders, err := source.Confine("scenario", append([]string{filepath.Dir(name)}, src.allow...)...)
	if err != nil {
		return plan.Plan{}, err
	}
	defer folders.Close()
	s, err := scenarios.Read(folders.Naming(name), name)
	if err != nil {
		return plan.Plan{}, err
	}
	src.within = folders
	config := s.Config
	if !strings.HasPrefix(config, builtIn) && !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	p, err := planOf(s, config, src)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, source.ErrOutside) {
		return p, fmt.Errorf("%s:%d: config: %w", name, s.ConfigLine, err)
	}
	return p, err
}

// configFile designs experiments for a configuration, or puts it under a built-in scenario's traffic.
func configFile(name string, src input) (plan.Plan, error) {
	if src.scenario == "" && src.lasts != 0 {
		return plan.Plan{}, fmt.Errorf("--for %s: lbproof designs the experiments for %s itself; with --scenario soak they last so long", src.lasts, name)
	}
	if src.scenario == "" {
		cfg, specs, err := src.stage(name)
		if err != nil {
			return plan.Plan{}, err
		}
		header, err := src.carried()
		if err != nil {
			return plan.Plan{}, err
		}
		return experiments.Design(runName(name), cfg, specs, experiments.Setup{
			CPUs: runtime.NumCPU(), Balancers: src.balancers, Checks: plan.ChecksOf(src.checks), Patient: len(src.checks) > 0, Header: header,
		})
	}
	if len(src.header) > 0 {
		return plan.Plan{}, fmt.Errorf("--header: the scenario %s says itself what its requests are", src.scenario)
	}
	if len(src.checks) > 0 {
		return plan.Plan{}, fmt.Errorf("--checks: the scenario %s says itself what it decides", src.scenario)
	}
	if !slices.Contains(scenarios.List(), src.scenario) {
		return plan.Plan{}, fmt.Errorf("no scenario is called %s; there are %s", src.scenario, strings.Join(scenarios.List(), ", "))
	}
	s, err := scenarios.Read(scenarios.BuiltIn, src.scenario+".yaml")
	if err != nil {
		return plan.Plan{}, err
	}
	s.Name, s.Backends = runName(name), nil
	return planOf(s, name, src)
}

var unfit = regexp.MustCompile(`[^a-z0-9]+`)

// runName makes a file's name fit for a run.
func runName(file string) string {
	base := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	if name := strings.Trim(unfit.ReplaceAllString(base, "-"), "-"); name != "" {
		return name
	}
	return "configuration"
}

func planOf(s scenarios.Scenario, config string, src input) (plan.Plan, error) {
	if err := s.Last(src.lasts); err != nil {
		return plan.Plan{}, err
	}
	cfg, specs, err := src.stage(config)
	if err != nil {
		return plan.Plan{}, err
	}
	return s.Plan(cfg, specs)
}

// stage reads a configuration and what it needs to run.
func (s input) stage(name string) (model.Config, []plan.Spec, error) {
	cfg, err := s.read(name)
	if err != nil {
		return cfg, nil, err
	}
	specs, err := lbconfigs.Specs(cfg)
	return cfg, specs, err
}
