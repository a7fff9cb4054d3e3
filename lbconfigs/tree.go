package lbconfigs

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
)

// tree is a YAML or TOML document, with the line of every part. A nil tree is a part that is not there: every method
// may be called on it.
type tree struct {
	pos    model.Pos
	key    string
	scalar string  // where kind is a scalar
	fields []*tree // of a map, in their order
	list   []*tree
	isMap  bool
	isList bool
}

// A configuration that is nested deeper or has more parts, aliases followed, is none.
const (
	deepest   = 64
	mostParts = 200_000
)

// parseTree reads a document by the suffix of its name.
func parseTree(name string, text []byte) (*tree, error) {
	if path.Ext(name) == ".toml" {
		return parseTOML(name, text)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, yamlError(name, err)
	}
	root := &tree{pos: model.Pos{File: name, Line: 1}, isMap: true}
	if len(doc.Content) == 0 {
		return root, nil
	}
	f := filler{name: name}
	return root, f.fill(root, doc.Content[0], 0)
}

// filler takes over YAML nodes, and counts them: aliases of aliases can stand for more than fits into memory.
type filler struct {
	name  string
	parts int
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

func yamlError(name string, err error) error {
	pos := model.Pos{File: name, Line: 1}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			pos.Line = n
		}
		return fmt.Errorf("%s: this is no YAML: %s", pos, m[2])
	}
	return fmt.Errorf("%s: this is no YAML: %w", pos, err)
}

func (f *filler) fill(t *tree, n *yaml.Node, depth int) error {
	t.pos = model.Pos{File: f.name, Line: max(1, n.Line)}
	if f.parts++; depth > deepest || f.parts > mostParts {
		return fmt.Errorf("%s: this is nested more than %d deep, or stands for more than %d parts: it is no configuration", t.pos, deepest, mostParts)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return f.fill(t, n.Alias, depth+1)
	case yaml.ScalarNode:
		t.scalar = n.Value
		if n.Tag == "!!null" {
			t.scalar = ""
		}
		return nil
	case yaml.SequenceNode:
		t.isList = true
		for _, c := range n.Content {
			child := &tree{}
			if err := f.fill(child, c, depth+1); err != nil {
				return err
			}
			t.list = append(t.list, child)
		}
		return nil
	}
	t.isMap = true
	for i := 0; i+1 < len(n.Content); i += 2 {
		child := &tree{key: n.Content[i].Value}
		if err := f.fill(child, n.Content[i+1], depth+1); err != nil {
			return err
		}
		child.pos.Line = max(1, n.Content[i].Line) // the key's line says more than its content's
		t.fields = append(t.fields, child)
	}
	return nil
}

// parseTOML reads a document with go-toml's parser, which knows where every part stands.
func parseTOML(name string, text []byte) (*tree, error) {
	root := &tree{pos: model.Pos{File: name, Line: 1}, isMap: true}
	if err := shallow(name, text, "[{", "]}", " \t\r\n=,[]{}"); err != nil {
		return nil, err
	}
	p := unstable.Parser{}
	p.Reset(text)
	lines := newlines(text)
	table := root
	for p.NextExpression() {
		e := p.Expression()
		line := lines.of(e)
		keys := keysOf(e)
		if len(keys) > deepest {
			return nil, fmt.Errorf("%s:%d: nested more than %d deep", name, line, deepest)
		}
		pos := model.Pos{File: name, Line: line}
		switch e.Kind {
		case unstable.Table:
			table = root.descend(pos, keys)
		case unstable.ArrayTable:
			array := root.descend(pos, keys)
			array.isMap, array.isList = false, true
			table = &tree{pos: pos, isMap: true}
			array.list = append(array.list, table)
		case unstable.KeyValue:
			table.put(pos, keys, e.Value(), 0)
		}
	}
	if err := p.Error(); err != nil {
		pos := model.Pos{File: name, Line: 1}
		var at *unstable.ParserError
		if errors.As(err, &at) && len(at.Highlight) > 0 {
			pos.Line = p.Shape(p.Range(at.Highlight)).Start.Line
		}
		return nil, fmt.Errorf("%s: this is no TOML: %w", pos, err)
	}
	return root, nil
}

func keysOf(e *unstable.Node) []string {
	var keys []string
	for it := e.Key(); it.Next(); {
		keys = append(keys, string(it.Node().Data))
	}
	return keys
}

// offsets are where the newlines of a text stand.
type offsets []int

func newlines(text []byte) offsets {
	var at offsets
	for i, b := range text {
		if b == '\n' {
			at = append(at, i)
		}
	}
	return at
}

// of is the line of an expression: that of its first key.
func (o offsets) of(e *unstable.Node) int {
	it := e.Key()
	if !it.Next() || it.Node().Raw.Length == 0 {
		return 1
	}
	n, _ := slices.BinarySearch(o, int(it.Node().Raw.Offset))
	return n + 1
}

// descend gives the table under the keys, made where it is not there; of a list of tables the last.
func (t *tree) descend(pos model.Pos, keys []string) *tree {
	for _, key := range keys {
		next := t.get(key)
		if next == nil {
			next = &tree{pos: pos, key: key, isMap: true}
			t.fields = append(t.fields, next)
		}
		if next.isList && len(next.list) > 0 {
			next = next.list[len(next.list)-1]
		}
		t = next
	}
	return t
}

// put takes over a TOML value.
func (t *tree) put(pos model.Pos, keys []string, value *unstable.Node, depth int) {
	if len(keys) == 0 || depth > deepest {
		return
	}
	at := t.descend(pos, keys[:len(keys)-1])
	child := &tree{pos: pos, key: keys[len(keys)-1]}
	child.take(pos, value, depth)
	at.fields = append(at.fields, child)
}

func (t *tree) take(pos model.Pos, value *unstable.Node, depth int) {
	switch value.Kind {
	case unstable.Array:
		t.isList = true
		for it := value.Children(); it.Next(); {
			child := &tree{pos: pos}
			child.take(pos, it.Node(), depth+1)
			t.list = append(t.list, child)
		}
	case unstable.InlineTable:
		t.isMap = true
		for it := value.Children(); it.Next(); {
			t.put(pos, keysOf(it.Node()), it.Node().Value(), depth+1)
		}
	default:
		t.scalar = string(value.Data)
	}
}

// get is the part of that name, upper and lower case alike as in Traefik; nil where there is none.
func (t *tree) get(keys ...string) *tree {
	for _, key := range keys {
		if t == nil {
			return nil
		}
		var next *tree
		for _, f := range t.fields {
			if strings.EqualFold(f.key, key) {
				next = f
			}
		}
		t = next
	}
	return t
}

// parts are the fields of a map.
func (t *tree) parts() []*tree {
	if t == nil {
		return nil
	}
	return t.fields
}

// items are the elements of a list.
func (t *tree) items() []*tree {
	if t == nil {
		return nil
	}
	return t.list
}

// text is a scalar; empty where there is none.
func (t *tree) text() string {
	if t == nil {
		return ""
	}
	return t.scalar
}

// texts are the scalars of a list.
func (t *tree) texts() []string {
	var out []string
	for _, i := range t.items() {
		out = append(out, i.scalar)
	}
	return out
}

// is says whether a scalar is true.
func (t *tree) is() bool { return strings.EqualFold(t.text(), "true") }
