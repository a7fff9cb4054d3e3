package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// hostFS opens files by the path that the user gave, so that errors and claims name them the same way.
type hostFS struct{}

func (hostFS) Open(name string) (fs.File, error) { return os.Open(name) }

const builtIn = "builtin:"

// readConfig reads a configuration: a path, or builtin:<balancer>/<name>.
func readConfig(name string) (lb.Config, error) {
	if inside, ok := strings.CutPrefix(name, builtIn); ok {
		return lbconfigs.Read(lbconfigs.BuiltIn, inside)
	}
	return lbconfigs.Read(hostFS{}, name)
}

// readTarget makes a plan of what the user named: a built-in scenario, a scenario file, a plan or a configuration.
func readTarget(target string) (lb.Plan, error) {
	if slices.Contains(scenarios.List(), target) {
		s, err := scenarios.Read(scenarios.BuiltIn, target+".yaml")
		if err != nil {
			return lb.Plan{}, err
		}
		return planOf(s, s.Config)
	}
	info, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return lb.Plan{}, fmt.Errorf("no scenario and no file is called %s; the scenarios are %s", target, strings.Join(scenarios.List(), ", "))
	case err != nil:
		return lb.Plan{}, fmt.Errorf("read %s: %w", target, errors.Unwrap(err))
	case info.IsDir():
		return lb.Plan{}, fmt.Errorf("%s is a folder: name a scenario, a plan or a configuration file", target)
	}
	switch filepath.Ext(target) {
	case ".yaml", ".yml":
		return scenarioFile(target)
	case ".json":
		return readPlan(target)
	}
	return configFile(target)
}

func scenarioFile(name string) (lb.Plan, error) {
	s, err := scenarios.Read(hostFS{}, name)
	if err != nil {
		return lb.Plan{}, err
	}
	config := s.Config
	if !strings.HasPrefix(config, builtIn) && !filepath.IsAbs(config) {
		config = filepath.Join(filepath.Dir(name), config)
	}
	plan, err := planOf(s, config)
	if errors.Is(err, fs.ErrNotExist) {
		return plan, fmt.Errorf("%s:%d: config: %w", name, s.ConfigLine, err)
	}
	return plan, err
}

// configFile puts a configuration under the baseline's traffic.
func configFile(name string) (lb.Plan, error) {
	s, err := scenarios.Read(scenarios.BuiltIn, "baseline.yaml")
	if err != nil {
		return lb.Plan{}, err
	}
	s.Name, s.Backends = runName(name), nil
	return planOf(s, name)
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

func planOf(s scenarios.Scenario, config string) (lb.Plan, error) {
	cfg, err := readConfig(config)
	if err != nil {
		return lb.Plan{}, err
	}
	specs, err := lbconfigs.Specs(cfg)
	if err != nil {
		return lb.Plan{}, err
	}
	return s.Plan(cfg, specs)
}
