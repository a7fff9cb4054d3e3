package scenarios

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/source"
)

// Schema is the JSON Schema of a scenario file.
//
//go:embed scenario.schema.json
var Schema []byte

var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		return nil, fmt.Errorf("read the scenario schema: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("scenario.schema.json", document); err != nil {
		return nil, fmt.Errorf("read the scenario schema: %w", err)
	}
	return compiler.Compile("scenario.schema.json")
})

// The size limits, in bytes, of scenarios and rules, and of the times of a replay.
const (
	maxFileSize   = 1 << 20
	maxReplaySize = 16 << 20
)

// Read reads a scenario file. Its errors begin with file:line.
func Read(fsys fs.FS, name string) (Scenario, error) {
	content, err := source.Read(fsys, name, maxFileSize)
	if err != nil {
		return Scenario{}, fmt.Errorf("read scenario %s: %w", name, errors.Unwrap(err))
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return Scenario{}, yamlError(name, err)
	}
	if len(document.Content) == 0 {
		return Scenario{}, fmt.Errorf("%s: the scenario is empty; write name, doc, config and phases", name)
	}
	root := document.Content[0]
	if err := validate(name, root); err != nil {
		return Scenario{}, err
	}
	s := Scenario{File: name, ConfigLine: lineAt(root, "config")}
	if err := root.Decode(&s); err != nil {
		return Scenario{}, yamlError(name, err)
	}
	for backend, limits := range s.Backends {
		limits.Line = lineAt(root, "backends", backend)
		s.Backends[backend] = limits
	}
	for i := range s.Faults {
		s.Faults[i].Line = lineAt(root, "faults", strconv.Itoa(i))
	}
	if s.Rules != "" {
		s.Rules = resolvePath(name, s.Rules)
		if s.RulesText, err = source.Read(fsys, s.Rules, maxFileSize); err != nil {
			return Scenario{}, fmt.Errorf("%s:%d: rules: %w", name, lineAt(root, "rules"), fileError(s.Rules, err))
		}
	}
	for i := range s.Phases {
		if err := s.Phases[i].locate(fsys, name, root, i); err != nil {
			return Scenario{}, err
		}
	}
	return s, nil
}

// resolvePath returns the path of a file that a scenario names, relative to the scenario.
func resolvePath(scenario, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(scenario), name)
}

// locate sets the lines of a phase and reads the file that its rate names.
func (p *Phase) locate(fsys fs.FS, name string, root *yaml.Node, i int) error {
	index := strconv.Itoa(i)
	p.Line = lineAt(root, "phases", index)
	for n := range p.Expect {
		p.ExpectLines = append(p.ExpectLines, lineAt(root, "phases", index, "expect", strconv.Itoa(n)))
	}
	if p.Rate.Replay == "" {
		return nil
	}
	file := resolvePath(name, p.Rate.Replay)
	text, err := source.Read(fsys, file, maxReplaySize)
	if err != nil {
		return fmt.Errorf("%s:%d: replay: %w", name, lineAt(root, "phases", index, "rate", "replay"),
			fileError(file, err))
	}
	if p.Rate.times, err = readReplayTimes(text); err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	return nil
}

// fileError explains an error of a file that a scenario names.
func fileError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no such file; paths are relative to the scenario's folder", name)
	}
	return err
}

// List returns the names of the built-in scenarios.
func List() []string {
	entries, _ := fs.Glob(BuiltIn, "*.yaml") // the pattern is valid
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(path.Base(e), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// yamlError adds file:line to an error of the YAML reader.
func yamlError(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok {
		if n, bad := strconv.Atoi(line); bad == nil {
			return fmt.Errorf("%s: invalid YAML: %s; check the indentation and quotes", model.Pos{File: name, Line: n}, rest)
		}
	}
	return fmt.Errorf("%s: invalid YAML: %s; check the indentation and quotes", name, text)
}

// follow follows a path of keys and indexes as far as it goes. It returns the value there, and the node with its line:
// for the value of a key, the key.
func follow(root *yaml.Node, location []string) (at, value *yaml.Node) {
	at, value = root, root
	for _, step := range location {
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		switch value.Kind {
		case yaml.SequenceNode:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(value.Content) {
				return at, value
			}
			value = value.Content[i]
			at = value
		case yaml.MappingNode:
			i := 0
			for i < len(value.Content) && value.Content[i].Value != step {
				i += 2
			}
			if i >= len(value.Content) {
				return at, value
			}
			at, value = value.Content[i], value.Content[i+1]
		default:
			return at, value
		}
	}
	return at, value
}

// lineAt returns the line of what follow finds.
func lineAt(root *yaml.Node, location ...string) int {
	at, _ := follow(root, location)
	return at.Line
}
