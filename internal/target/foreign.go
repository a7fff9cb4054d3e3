package target

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/lbconfigs"
)

// checkForeign reports a file that is not a balancer configuration but leads to one: a Compose file, a Kubernetes
// manifest or an unrendered template.
func checkForeign(name string, text []byte) error {
	switch filepath.Ext(name) {
	case ".template":
		return unrendered(name, text)
	case ".yaml", ".yml":
		var file foreignFile
		_ = yaml.Unmarshal(text, &file) // other mistakes are reported by the reader of the format
		return file.check(name, text)
	}
	return nil
}

// foreignFile has the fields that tell a Compose file or a Kubernetes manifest.
type foreignFile struct {
	Services map[string]struct {
		Volumes []yaml.Node `yaml:"volumes"` // "SOURCE:TARGET:OPTIONS" or a mount
	} `yaml:"services"`

	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Data       map[string]string `yaml:"data"` // of a ConfigMap, by file name
}

// mount is a volume of a service in its long form.
type mount struct {
	Source string `yaml:"source"`
	Target string `yaml:"target"`
}

func (f foreignFile) check(name string, text []byte) error {
	const notConfig = "is %s, not a balancer configuration; pass "
	switch {
	case f.APIVersion != "" && f.Kind != "" && len(f.Data) > 0:
		return fmt.Errorf("%s: "+notConfig+"the configuration in its data as a file (%s)",
			name, "a Kubernetes "+f.Kind, strings.Join(slices.Sorted(maps.Keys(f.Data)), ", "))
	case f.APIVersion != "" && f.Kind != "":
		return fmt.Errorf("%s: "+notConfig+"the file that the balancer's pod runs with (kubectl cp copies it)",
			name, "a Kubernetes "+f.Kind)
	case len(f.Services) == 0 || lbconfigs.IsDocument(string(text)):
		return nil
	}
	if mounted := f.mountedConfigs(filepath.Dir(name)); len(mounted) > 0 {
		return fmt.Errorf("%s: "+notConfig+"the one that it mounts: %s",
			name, "a Compose file", strings.Join(mounted, ", "))
	}
	return fmt.Errorf("%s: "+notConfig+"the balancer's own file (%s)",
		name, "a Compose file", strings.Join(mainFiles(), ", "))
}

// mountedConfigs returns the configurations that the services mount from dir: main files, or else everything else that
// is mounted where balancers look for their configuration.
func (f foreignFile) mountedConfigs(dir string) []string {
	var mains, others []string
	for _, service := range slices.Sorted(maps.Keys(f.Services)) {
		for _, volume := range f.Services[service].Volumes {
			m := readMount(volume)
			switch source := filepath.Join(dir, m.Source); {
			case m.Source == "" || filepath.IsAbs(m.Source):
			case isMainFile(m.Target) && !slices.Contains(mains, source):
				mains = append(mains, source)
			case isConfigPath(m.Target) && !slices.Contains(others, source):
				others = append(others, source)
			}
		}
	}
	if len(mains) > 0 {
		return mains
	}
	return others
}

func readMount(volume yaml.Node) (m mount) {
	if volume.Kind == yaml.ScalarNode {
		m.Source, m.Target, _ = strings.Cut(volume.Value, ":")
		m.Target, _, _ = strings.Cut(m.Target, ":")
		return m
	}
	_ = volume.Decode(&m) // a mount in another form names no file
	return m
}

// mainFiles returns the patterns of the names of main files.
func mainFiles() (all []string) {
	for _, b := range lbconfigs.All {
		all = append(all, b.MainFiles...)
	}
	return all
}

func isMainFile(name string) bool {
	return slices.ContainsFunc(mainFiles(), func(pattern string) bool {
		ok, err := path.Match(pattern, path.Base(name))
		return ok && err == nil
	})
}

// isConfigPath reports whether a path in a container is where a balancer looks for its configuration.
func isConfigPath(name string) bool {
	isCertificate := slices.Contains([]string{".pem", ".crt", ".key"}, path.Ext(name))
	inConfigFolder := func(b string) bool { return strings.Contains(name+"/", "/etc/"+b+"/") }
	return !isCertificate && slices.ContainsFunc(balancerNames(), inConfigFolder)
}

func balancerNames() (all []string) {
	for _, b := range lbconfigs.All {
		all = append(all, b.Name)
	}
	return all
}

// templateVariable is a variable as envsubst replaces it. Variables of balancers are lower-case.
var templateVariable = regexp.MustCompile(`\$\{[A-Z][A-Z0-9_]*\}`)

// unrendered reports the variables of a template.
func unrendered(name string, text []byte) error {
	found := templateVariable.FindAllString(string(text), -1)
	if len(found) == 0 {
		return nil
	}
	slices.Sort(found)
	variables := strings.Join(slices.Compact(found), " ")
	return fmt.Errorf("%s: is a template with variables (%s); set them, render it and pass the result: "+
		"envsubst '%s' < %s > %s", name, variables, variables, name, strings.TrimSuffix(name, ".template"))
}

// explainTemplate adds the likely cause to an error that quotes a variable of a template.
func explainTemplate(err error) error {
	if err == nil {
		return nil
	}
	if variable := templateVariable.FindString(err.Error()); variable != "" {
		return fmt.Errorf("%w (%s looks like a template variable; render the file first, e.g. with envsubst)", err, variable)
	}
	return err
}
