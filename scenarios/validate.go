package scenarios

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
)

// mistake is a violation of the schema.
type mistake struct {
	line int
	text string
}

// validate checks a file against the schema and reports every mistake with its line.
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
	e := explainer{root: root, intended: map[string][]string{}}
	violations := leafErrors(invalid)
	for _, v := range violations {
		e.noteIntended(v)
	}
	for _, v := range violations {
		e.explain(v)
	}
	slices.SortFunc(e.mistakes, func(a, b mistake) int { return cmp.Or(a.line-b.line, strings.Compare(a.text, b.text)) })
	var all []error
	for _, m := range e.mistakes {
		all = append(all, fmt.Errorf("%s: %s", model.Pos{File: name, Line: m.line}, m.text))
	}
	return errors.Join(all...)
}

// leafErrors returns the errors that have no causes. Alternatives are one error, unless it is clear which was meant.
func leafErrors(err *jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch err.ErrorKind.(type) {
	case *kind.AnyOf:
		return []*jsonschema.ValidationError{err}
	case *kind.OneOf:
		for _, alternative := range err.Causes {
			below := leafErrors(alternative)
			isHere := func(e *jsonschema.ValidationError) bool {
				return len(e.InstanceLocation) == len(err.InstanceLocation)
			}
			if !slices.ContainsFunc(below, isHere) {
				return below
			}
		}
		return []*jsonschema.ValidationError{err}
	}
	if len(err.Causes) == 0 {
		return []*jsonschema.ValidationError{err}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range err.Causes {
		all = append(all, leafErrors(cause)...)
	}
	return all
}

// explainer collects mistakes.
type explainer struct {
	root     *yaml.Node
	intended map[string][]string // by location, the fields that unknown ones are misspellings of
	mistakes []mistake
}

// noteIntended notes misspelled fields, so that they are not reported as missing too.
func (e *explainer) noteIntended(err *jsonschema.ValidationError) {
	if k, ok := err.ErrorKind.(*kind.AdditionalProperties); ok {
		at := locationName(err.InstanceLocation)
		for _, field := range k.Properties {
			e.intended[at] = append(e.intended[at], units.Nearest(field, fieldsOf(err.SchemaURL)))
		}
	}
}

func (e *explainer) explain(err *jsonschema.ValidationError) {
	at, value := follow(e.root, err.InstanceLocation)
	where := locationName(err.InstanceLocation)
	add := func(line int, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if where != "" {
			text = where + ": " + text
		}
		e.mistakes = append(e.mistakes, mistake{line, text})
	}
	isIntended := func(field string) bool { return slices.Contains(e.intended[where], field) }
	switch k := err.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		known := fieldsOf(err.SchemaURL)
		for _, field := range k.Properties {
			line := lineAt(e.root, append(slices.Clone(err.InstanceLocation), field)...)
			add(line, "unknown field %q; %s", field,
				units.DidYouMean(field, known, "fields: "+strings.Join(known, ", ")))
		}
	case *kind.AnyOf:
		if !isIntended("concurrency") && !isIntended("rate") {
			add(at.Line, "add concurrency (closed loop) or rate (open loop)")
		}
	case *kind.OneOf:
		add(at.Line, "%s", unknownRate(value))
	case *kind.Required:
		missing := slices.DeleteFunc(slices.Sorted(slices.Values(k.Missing)), isIntended)
		if len(missing) > 0 {
			add(at.Line, "missing %s", strings.Join(missing, ", "))
		}
	default:
		add(at.Line, "%s", invalidValue(value, err))
	}
}

// unknownRate explains a rate that is neither a number nor a shape.
func unknownRate(value *yaml.Node) string {
	const how = "write requests per second, or one of "
	shapes := []string{"poisson", "ramp", "steps", "spike", "sine", "bursts", "replay"}
	if value.Kind == yaml.MappingNode && len(value.Content) == 2 {
		name := value.Content[0].Value
		return fmt.Sprintf("unknown shape %q; %s", name, units.DidYouMean(name, shapes, how+strings.Join(shapes, ", ")))
	}
	return quoted(value) + " is not a rate; " + how + strings.Join(shapes, ", ")
}

// format describes the texts that match a pattern of the schema.
type format struct{ what, example string }

// formats are the patterns of the schema.
var formats = map[string]format{
	`^[a-z0-9][a-z0-9-]*$`: {"a name of lower-case letters, digits and hyphens", "my-test"},
	`^[0-9]+(MiB|GiB)$`:    {"a size in MiB or GiB", "64MiB"},
	`^[0-9]+(\.[0-9]+)?%$`: {"a percentage", "1%"},
	`^[0-9]+(ms|s|m|h)$`:   {"a whole number with a unit (ms, s, m, h)", "10s"},
	`^/`:                   {"a path that starts with /", "/models"},
}

// types describes the JSON types.
var types = map[string]string{
	"array": "a list", "boolean": "true or false", "integer": "a whole number", "number": "a number",
	"object": "a map of fields", "string": "text",
}

// invalidValue explains a value that the schema does not allow.
func invalidValue(value *yaml.Node, err *jsonschema.ValidationError) string {
	if pattern, ok := schemaAt(err.SchemaURL)["pattern"].(string); ok {
		if f, ok := formats[pattern]; ok {
			return fmt.Sprintf("%s is not %s; write e.g. %s", quoted(value), f.what, f.example)
		}
	}
	switch k := err.ErrorKind.(type) {
	case *kind.Type:
		if isScalar := value.Kind == yaml.ScalarNode; isScalar && k.Want[0] == "string" {
			return fmt.Sprintf("%s is not text; put it in quotes: %q", value.Value, value.Value)
		}
		return fmt.Sprintf("%s is not %s", quoted(value), types[k.Want[0]])
	case *kind.Enum:
		var allowed []string
		for _, one := range k.Want {
			allowed = append(allowed, fmt.Sprint(one))
		}
		return fmt.Sprintf("%s is not allowed; %s", quoted(value),
			units.DidYouMean(value.Value, allowed, "write one of "+strings.Join(allowed, ", ")))
	case *kind.Minimum:
		return fmt.Sprintf("%s must be at least %s", value.Value, k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("%s must be at most %s", value.Value, k.Want.RatString())
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("%s must be above %s", value.Value, k.Want.RatString())
	case *kind.ExclusiveMaximum:
		want, _ := k.Want.Float64()
		return fmt.Sprintf("%s must be below %v", value.Value, want)
	case *kind.MinItems, *kind.MinLength, *kind.MinProperties:
		return "must not be empty"
	}
	return err.ErrorKind.LocalizedString(message.NewPrinter(language.English))
}

// quoted returns a value as text in quotes; lists and maps only by their kind.
func quoted(value *yaml.Node) string {
	switch value.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a map of fields"
	}
	return fmt.Sprintf("%q", value.Value)
}

// locationName returns a location as in phases[0].send[1].path; "" is the whole scenario.
func locationName(location []string) string {
	var b strings.Builder
	for i, step := range location {
		switch isIndex := strings.Trim(step, "0123456789") == ""; {
		case isIndex:
			fmt.Fprintf(&b, "[%s]", step)
		case i > 0:
			b.WriteString("." + step)
		default:
			b.WriteString(step)
		}
	}
	return b.String()
}

// schemaDocument is the parsed Schema.
var schemaDocument = sync.OnceValue(func() map[string]any {
	var document map[string]any
	_ = json.Unmarshal(Schema, &document) // compiledSchema reports a mistake
	return document
})

// schemaAt returns the part of the schema at a URL with a JSON pointer; nil if there is none.
func schemaAt(url string) map[string]any {
	_, pointer, _ := strings.Cut(url, "#")
	var at any = schemaDocument()
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if step == "" {
			continue
		}
		object, _ := at.(map[string]any)
		at = object[step]
	}
	found, _ := at.(map[string]any)
	return found
}

// fieldsOf returns the names of the fields that the schema at a URL allows, sorted.
func fieldsOf(url string) []string {
	fields, _ := schemaAt(url)["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(fields))
}
