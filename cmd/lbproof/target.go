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
	"testing/fstest"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// source says where a configuration is and how it is to be read; its flags are those of every verb that takes one.
type source struct {
	balancer  string
	allow     []string
	scenario  string        // whose traffic a configuration gets
	checks    []string      // kinds of promises that experiments are designed for; none: all
	balancers int           // with that configuration, in a designed run
	header    []string      // NAME: VALUE that requests of designed experiments carry
	lasts     time.Duration // of a scenario's phases that say for how long, where it is not zero
}

func (s *source) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.balancer, "balancer", "", "whose configuration it is, where the file does not tell (nginx, haproxy, traefik)")
	cmd.Flags().StringSliceVar(&s.allow, "allow-path", nil, "a folder outside the configuration's own from which it may include files")
}

// headerFlag is that of verbs that design experiments.
func (s *source) headerFlag(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&s.header, "header", nil, "NAME: VALUE that every request of the experiments carries, and without which something that lbproof cannot read lets none through: a session, a key, a password")
}

// trafficFlags are those of verbs that take a scenario too.
func (s *source) trafficFlags(cmd *cobra.Command) {
	s.headerFlag(cmd)
	cmd.Flags().StringVar(&s.scenario, "scenario", "", "a built-in scenario whose traffic a configuration gets, and whose expectations, instead of experiments designed for it")
	_ = cmd.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(scenarios.List(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringSliceVar(&s.checks, "checks", nil, "the kinds of promises that experiments are designed for, as tls,response; others are listed and change no exit code, and deaths may take longer")
	_ = cmd.RegisterFlagCompletionFunc("checks", cobra.FixedCompletions(checks.Names(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().IntVar(&s.balancers, "balancers", 1, "how many balancers have the configuration: experiments ask the limits of each of them")
	cmd.Flags().DurationVar(&s.lasts, "for", 0, "how long the scenario's phases last that say for how long, as 8h")
}

// carried is the header that experiments' requests carry.
func (s source) carried() (map[string]string, error) {
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
func (s source) read(name string) (lb.Config, error) { return s.reread(name, nil) }

// reread reads a configuration some of whose files are others.
func (s source) reread(name string, files []lb.File) (lb.Config, error) {
	if inside, ok := strings.CutPrefix(name, builtIn); ok {
		cfg, err := lbconfigs.Read(overlay{lbconfigs.BuiltIn, files}, inside, s.balancer)
		if errors.Is(err, fs.ErrNotExist) {
			return cfg, fmt.Errorf("no configuration is called %s; lbproof list configurations shows them", name)
		}
		return cfg, err
	}
	folder := filepath.Dir(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		folder = name
	}
	fsys, err := confine(append([]string{folder}, s.allow...))
	if err != nil {
		return lb.Config{}, err
	}
	return lbconfigs.Read(overlay{fsys, files}, name, s.balancer)
}

// overlay has files instead of those that lie at the same place.
type overlay struct {
	below fs.FS
	files []lb.File
}

// Open is fs.FS's.
func (o overlay) Open(name string) (fs.File, error) {
	for _, f := range o.files {
		if f.Name == name {
			return fstest.MapFS{"file": {Data: f.Content}}.Open("file")
		}
	}
	return o.below.Open(name)
}

// confined opens files by the path that the user gave, so that errors and claims name them the same way. What it opens lies,
// symbolic links followed, in one of its folders.
type confined []string

func confine(folders []string) (confined, error) {
	var c confined
	for _, folder := range folders {
		real, err := realPath(folder)
		if err != nil {
			return nil, fmt.Errorf("read configuration %s: %w", folder, err)
		}
		c = append(c, real)
	}
	return c, nil
}

// realPath is a path from the root, without symbolic links.
func realPath(name string) (string, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		return "", err
	}
	return filepath.Abs(real)
}

var errOutside = errors.New("it lies outside the configuration's folder; --allow-path FOLDER lets lbproof read it")

// Open is fs.FS's; names are those of the host.
func (c confined) Open(name string) (fs.File, error) {
	real, err := realPath(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	for _, folder := range c {
		if inside, err := filepath.Rel(folder, real); err == nil && filepath.IsLocal(inside) {
			return os.Open(real)
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errOutside}
}

// hostFS opens any file by the path that the user gave.
type hostFS struct{}

func (hostFS) Open(name string) (fs.File, error) { return os.Open(name) }

// readTarget makes a plan of what the user named: a built-in scenario, a scenario file, a plan or a configuration.
func readTarget(target string, src source) (lb.Plan, error) {
	plan, err := readAny(target, src)
	if src.balancers < 1 {
		return plan, fmt.Errorf("--balancers %d: there has to be one at least", src.balancers)
	}
	if err == nil && src.balancers > 1 && !slices.ContainsFunc(plan.Specs, func(spec lb.Spec) bool { return spec.Role == lb.Peer }) {
		return plan, fmt.Errorf("%s: --balancers is for configurations; a scenario or plan says itself who takes part", target)
	}
	if err == nil && len(src.header) > 0 && plan.Carried == nil {
		return plan, fmt.Errorf("%s: --header is for configurations; a scenario or plan says itself what its requests are", target)
	}
	if err == nil && len(src.checks) > 0 && !slices.Equal(plan.Checks, src.checks) {
		return plan, fmt.Errorf("%s: --checks is for configurations; a scenario or plan says itself what it decides", target)
	}
	return plan, err
}

func readAny(target string, src source) (lb.Plan, error) {
	if slices.Contains(scenarios.List(), target) && src.scenario != "" {
		return lb.Plan{}, fmt.Errorf("%s says its traffic itself: --scenario is for configurations", target)
	}
	if slices.Contains(scenarios.List(), target) {
		s, err := scenarios.Read(scenarios.BuiltIn, target+".yaml")
		if err != nil {
			return lb.Plan{}, err
		}
		return planOf(s, s.Config, src)
	}
	if strings.HasPrefix(target, builtIn) {
		return configFile(target, src)
	}
	info, err := os.Stat(target)
	if src.scenario != "" && err == nil && (filepath.Ext(target) == ".json" || !info.IsDir() && isScenario(target)) {
		return lb.Plan{}, fmt.Errorf("%s says its traffic itself: --scenario is for configurations", target)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lb.Plan{}, fmt.Errorf("no scenario and no file is called %s; the scenarios are %s", target, strings.Join(scenarios.List(), ", "))
	case err != nil:
		return lb.Plan{}, fmt.Errorf("read %s: %w", target, errors.Unwrap(err))
	case info.IsDir():
		return configFile(target, src)
	case filepath.Ext(target) == ".json" && src.lasts != 0:
		return lb.Plan{}, fmt.Errorf("%s: --for changes scenarios; a plan says all itself", target)
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
	text, err := os.ReadFile(name)
	return err != nil || !lbconfigs.IsTraefik(string(text))
}

func scenarioFile(name string, src source) (lb.Plan, error) {
	s, err := scenarios.Read(hostFS{}, name)
	if err != nil {
		return lb.Plan{}, err
	}
	config := s.Config
	if !strings.HasPrefix(config, builtIn) && !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	plan, err := planOf(s, config, src)
	if errors.Is(err, fs.ErrNotExist) {
		return plan, fmt.Errorf("%s:%d: config: %w", name, s.ConfigLine, err)
	}
	return plan, err
}

// configFile designs experiments for a configuration, or puts it under a built-in scenario's traffic.
func configFile(name string, src source) (lb.Plan, error) {
	if src.scenario == "" && src.lasts != 0 {
		return lb.Plan{}, fmt.Errorf("--for %s: lbproof designs the experiments for %s itself; with --scenario soak they last so long", src.lasts, name)
	}
	if src.scenario == "" {
		cfg, specs, err := src.stage(name)
		if err != nil {
			return lb.Plan{}, err
		}
		header, err := src.carried()
		if err != nil {
			return lb.Plan{}, err
		}
		return scenarios.Design(runName(name), cfg, specs, scenarios.Setup{
			CPUs: runtime.NumCPU(), Balancers: src.balancers, Checks: src.checks, Patient: len(src.checks) > 0, Header: header,
		})
	}
	if len(src.header) > 0 {
		return lb.Plan{}, fmt.Errorf("--header: the scenario %s says itself what its requests are", src.scenario)
	}
	if len(src.checks) > 0 {
		return lb.Plan{}, fmt.Errorf("--checks: the scenario %s says itself what it decides", src.scenario)
	}
	if !slices.Contains(scenarios.List(), src.scenario) {
		return lb.Plan{}, fmt.Errorf("no scenario is called %s; there are %s", src.scenario, strings.Join(scenarios.List(), ", "))
	}
	s, err := scenarios.Read(scenarios.BuiltIn, src.scenario+".yaml")
	if err != nil {
		return lb.Plan{}, err
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

func planOf(s scenarios.Scenario, config string, src source) (lb.Plan, error) {
	if err := s.Last(src.lasts); err != nil {
		return lb.Plan{}, err
	}
	cfg, specs, err := src.stage(config)
	if err != nil {
		return lb.Plan{}, err
	}
	return s.Plan(cfg, specs)
}

// stage reads a configuration and what it needs to run.
func (s source) stage(name string) (lb.Config, []lb.Spec, error) {
	cfg, err := s.read(name)
	if err != nil {
		return cfg, nil, err
	}
	specs, err := lbconfigs.Specs(cfg)
	return cfg, specs, err
}
