package target

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// missingError is a name that is no file, with the likely intention of the user. It is fs.ErrNotExist.
type missingError string

func (e missingError) Error() string { return string(e) }

func (e missingError) Is(target error) bool { return target == fs.ErrNotExist }

// missingTarget explains a name that is neither a scenario nor a file.
func missingTarget(name string) error {
	if looksLikeFile(name) {
		return missingConfig(name)
	}
	known := append(scenarios.List(), filesIn(".")...)
	return missingError(fmt.Sprintf("%q is neither a scenario nor a file; %s", name,
		units.DidYouMean(name, known, "scenarios: "+strings.Join(scenarios.List(), ", "))))
}

// missingConfig explains a name that is not the file of a configuration.
func missingConfig(name string) error {
	const check = "check the path"
	fix := check
	switch near := nearestPath(name); {
	case name == "-":
		return missingError("-: standard input cannot be read, because includes are relative to a file; " +
			"save the configuration to a file and pass that")
	case runningBalancer.MatchString(name):
		return missingError(name + ": lbproof tests configurations, not running balancers; " +
			"pass the balancer's configuration (e.g. nginx.conf)")
	case slices.Contains(lbconfigs.Names(), name):
		fix = fmt.Sprintf("did you mean %s?", BuiltInPrefix+name)
	case slices.Contains(scenarios.List(), name):
		return isScenarioError(name)
	case near != "":
		fix = fmt.Sprintf("did you mean %s?", near)
	}
	return missingError(fmt.Sprintf("%s: no such file; %s", name, fix))
}

// isScenarioError explains the name of a scenario in place of a configuration.
func isScenarioError(name string) error {
	text := name + ": a scenario, not a configuration"
	if s, err := scenarios.Read(scenarios.BuiltIn, name+".yaml"); err == nil {
		text += "; pass its configuration: " + s.Config
	}
	return missingError(text)
}

// missingBuiltIn explains a name that is not a built-in configuration.
func missingBuiltIn(name string) error {
	var known []string
	for _, b := range lbconfigs.Names() {
		known = append(known, BuiltInPrefix+b)
	}
	return missingError(fmt.Sprintf("%s: not a built-in configuration; %s", name,
		units.DidYouMean(name, known, "lbproof list configurations shows them")))
}

// runningBalancer matches a URL, and a host with a port.
var runningBalancer = regexp.MustCompile(`^(https?://.*|[A-Za-z0-9.-]+:[0-9]+(/.*)?)$`)

// looksLikeFile reports whether a name has a folder or an extension, as no scenario has.
func looksLikeFile(name string) bool {
	return strings.ContainsAny(name, `/\:`) || filepath.Ext(name) != "" || name == "-"
}

// nearestPath returns the existing path that name is most likely a misspelling of, or "".
func nearestPath(name string) string {
	at := "."
	if filepath.IsAbs(name) {
		at = "/"
	}
	for _, part := range strings.Split(strings.Trim(filepath.Clean(name), "/"), "/") {
		next := filepath.Join(at, part)
		if _, err := os.Stat(next); err != nil {
			near := units.Nearest(part, filesIn(at))
			if near == "" {
				return ""
			}
			next = filepath.Join(at, near)
		}
		at = next
	}
	return at
}

// filesIn returns the names in a folder, none if it cannot be read.
func filesIn(folder string) (names []string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// mainFilesBelow returns the main files in the subfolders of a folder that has none itself.
func mainFilesBelow(folder string) (found []string) {
	for _, pattern := range mainFiles() {
		if here, err := filepath.Glob(filepath.Join(folder, pattern)); err == nil && len(here) > 0 {
			return nil
		}
		below, _ := filepath.Glob(filepath.Join(folder, "*", pattern)) // the pattern is valid
		found = append(found, below...)
	}
	return found
}
