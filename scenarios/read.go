package scenarios

import (
	"bytes"
	"cmp"
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
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

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

// The sizes, in bytes, of the largest files that are read: scenarios and rules, and the times of a replay.
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
		return Scenario{}, fmt.Errorf("%s: the scenario is empty", name)
	}
	root := document.Content[0]
	if err := validate(name, root); err != nil {
		return Scenario{}, err
	}
	s := Scenario{File: name, ConfigLine: nodeAt(root, []string{"config"}).Line}
	if err := root.Decode(&s); err != nil {
		return Scenario{}, yamlError(name, err)
	}
	for backend, limits := range s.Backends {
		limits.Line = nodeAt(root, []string{"backends", backend}).Line
		s.Backends[backend] = limits
	}
	for i := range s.Faults {
		s.Faults[i].Line = nodeAt(root, []string{"faults", strconv.Itoa(i)}).Line
	}
	if s.Rules != "" {
		s.Rules = resolvePath(name, s.Rules)
		if s.RulesText, err = source.Read(fsys, s.Rules, maxFileSize); err != nil {
			return Scenario{}, fmt.Errorf("%s:%d: rules: %w", name, nodeAt(root, []string{"rules"}).Line, err)
		}
	}
	for i := range s.Phases {
		if err := s.Phases[i].locate(fsys, name, root, i); err != nil {
			return Scenario{}, err
		}
	}
	return s, nil
}

// resolvePath is where a file lies that a scenario names.
func resolvePath(scenario, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(path.Dir(scenario), name)
}

// locate notes where a phase stands, and reads the file that its rate names.
func (p *Phase) locate(fsys fs.FS, name string, root *yaml.Node, i int) error {
	at := []string{"phases", strconv.Itoa(i)}
	p.Line = nodeAt(root, at).Line
	for n := range p.Expect {
		p.ExpectLines = append(p.ExpectLines, nodeAt(root, append(slices.Clone(at), "expect", strconv.Itoa(n))).Line)
	}
	if p.Rate.Replay == "" {
		return nil
	}
	file := resolvePath(name, p.Rate.Replay)
	text, err := source.Read(fsys, file, maxReplaySize)
	if err != nil {
		return fmt.Errorf("%s:%d: replay: %w", name, nodeAt(root, append(at, "rate", "replay")).Line, err)
	}
	if p.Rate.times, err = readReplayTimes(text); err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	return nil
}

// List gives the names of the built-in scenarios.
func List() []string {
	entries, _ := fs.Glob(BuiltIn, "*.yaml") // the pattern is good
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(path.Base(e), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// yamlError puts file:line in front of what the YAML reader says.
func yamlError(name string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if line, rest, ok := strings.Cut(strings.TrimPrefix(text, "line "), ": "); ok {
		if n, bad := strconv.Atoi(line); bad == nil {
			return fmt.Errorf("%s: %s", model.Pos{File: name, Line: n}, rest)
		}
	}
	return fmt.Errorf("%s: %s", name, text)
}

// validate holds the file against the schema, and tells every mistake with its line.
func validate(name string, root *yaml.Node) error {
	schema, err := compiledSchema()
	if err != nil {
		return err
	}
	var value any
	if err := root.Decode(&value); err != nil {
		return yamlError(name, err)
	}
	var invalid *jsonschema.ValidationError
	switch err := schema.Validate(value); {
	case err == nil:
		return nil
	case !errors.As(err, &invalid):
		return fmt.Errorf("%s: %w", name, err)
	}
	type mistake struct {
		line int
		text string
	}
	var mistakes []mistake
	for _, leaf := range leafErrors(invalid) {
		line, text := explain(root, leaf)
		mistakes = append(mistakes, mistake{line, text})
	}
	slices.SortFunc(mistakes, func(a, b mistake) int { return cmp.Or(a.line-b.line, strings.Compare(a.text, b.text)) })
	var told []error
	for _, m := range mistakes {
		told = append(told, fmt.Errorf("%s: %s", model.Pos{File: name, Line: m.line}, m.text))
	}
	return errors.Join(told...)
}

// leafErrors are the errors that have no cause below them; alternatives are one error.
func leafErrors(err *jsonschema.ValidationError) []*jsonschema.ValidationError {
	_, any := err.ErrorKind.(*kind.AnyOf)
	if _, one := err.ErrorKind.(*kind.OneOf); any || one || len(err.Causes) == 0 {
		return []*jsonschema.ValidationError{err}
	}
	var out []*jsonschema.ValidationError
	for _, cause := range err.Causes {
		out = append(out, leafErrors(cause)...)
	}
	return out
}

// explain says where a mistake stands and what it is.
func explain(root *yaml.Node, err *jsonschema.ValidationError) (line int, text string) {
	where := strings.Join(err.InstanceLocation, ".")
	if where == "" {
		where = "the scenario"
	}
	node := nodeAt(root, err.InstanceLocation)
	switch k := err.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		return nodeAt(root, append(slices.Clone(err.InstanceLocation), k.Properties[0])).Line,
			fmt.Sprintf("unknown field %s in %s", strings.Join(k.Properties, ", "), where)
	case *kind.AnyOf:
		return node.Line, where + " needs concurrency (a closed loop) or rate (an open loop)"
	case *kind.OneOf:
		return node.Line, where + " is a number of requests per second or one of " +
			"poisson, ramp, steps, spike, sine, bursts, replay"
	case *kind.Required:
		slices.Sort(k.Missing)
		return node.Line, fmt.Sprintf("%s needs %s", where, strings.Join(k.Missing, ", "))
	}
	return node.Line, where + ": " + err.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

// nodeAt follows a path of keys and indexes as far as it goes; for a key it gives the key's own node, which has its line.
func nodeAt(node *yaml.Node, location []string) *yaml.Node {
	at := node
	for _, step := range location {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		switch node.Kind {
		case yaml.SequenceNode:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(node.Content) {
				return at
			}
			node = node.Content[i]
			at = node
		case yaml.MappingNode:
			i := 0
			for i < len(node.Content) && node.Content[i].Value != step {
				i += 2
			}
			if i >= len(node.Content) {
				return at
			}
			at, node = node.Content[i], node.Content[i+1]
		default:
			return at
		}
	}
	return at
}
