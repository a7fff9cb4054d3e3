package reading

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
)

// PosOr returns the position of a node, or otherwise for a nil tree.
func (t *Tree) PosOr(otherwise model.Pos) model.Pos {
	if t == nil {
		return otherwise
	}
	return t.Pos
}

// Tree is a node of a YAML or TOML document, with its line. A nil tree is a missing node, on which every method may be
// called.
type Tree struct {
	Pos    model.Pos
	Key    string
	Scalar string  // of a scalar
	fields []*Tree // of a map, in order
	list   []*Tree
	IsMap  bool
	isList bool
}

// The limits of a document, with aliases expanded.
const (
	MaxDepth = 64
	maxParts = 200_000
)

// ParseTree parses a TOML document by its suffix, any other as YAML.
func ParseTree(name string, text []byte) (*Tree, error) {
	if path.Ext(name) == ".toml" {
		return parseTOML(name, text)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, yamlError(name, err)
	}
	root := &Tree{Pos: model.Pos{File: name, Line: 1}, IsMap: true}
	if len(doc.Content) == 0 {
		return root, nil
	}
	f := treeBuilder{name: name}
	return root, f.fill(root, doc.Content[0], 0)
}

// treeBuilder converts YAML nodes and counts them: aliases of aliases can expand to more than memory holds.
type treeBuilder struct {
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
		return fmt.Errorf("%s: invalid YAML: %s", pos, m[2])
	}
	return fmt.Errorf("%s: invalid YAML: %w", pos, err)
}

func (f *treeBuilder) fill(t *Tree, n *yaml.Node, depth int) error {
	t.Pos = model.Pos{File: f.name, Line: max(1, n.Line)}
	if f.parts++; depth > MaxDepth || f.parts > maxParts {
		return fmt.Errorf("%s: nested more than %d levels deep, or expands to more than %s nodes; not a configuration",
			t.Pos, MaxDepth, units.Number(maxParts))
	}
	switch n.Kind {
	case yaml.AliasNode:
		return f.fill(t, n.Alias, depth+1)
	case yaml.ScalarNode:
		t.Scalar = n.Value
		if n.Tag == "!!null" {
			t.Scalar = ""
		}
		return nil
	case yaml.SequenceNode:
		t.isList = true
		for _, c := range n.Content {
			child := &Tree{}
			if err := f.fill(child, c, depth+1); err != nil {
				return err
			}
			t.list = append(t.list, child)
		}
		return nil
	}
	t.IsMap = true
	for i := 0; i+1 < len(n.Content); i += 2 {
		child := &Tree{Key: n.Content[i].Value}
		if err := f.fill(child, n.Content[i+1], depth+1); err != nil {
			return err
		}
		child.Pos.Line = max(1, n.Content[i].Line) // the line of the key, not of its content
		t.fields = append(t.fields, child)
	}
	return nil
}

// Get returns the node under keys, ignoring case as Traefik does; nil if there is none.
func (t *Tree) Get(keys ...string) *Tree {
	for _, key := range keys {
		if t == nil {
			return nil
		}
		var next *Tree
		for _, f := range t.fields {
			if strings.EqualFold(f.Key, key) {
				next = f
			}
		}
		t = next
	}
	return t
}

// Parts returns the fields of a map.
func (t *Tree) Parts() []*Tree {
	if t == nil {
		return nil
	}
	return t.fields
}

// Items returns the elements of a list.
func (t *Tree) Items() []*Tree {
	if t == nil {
		return nil
	}
	return t.list
}

// Text returns a scalar; "" if there is none.
func (t *Tree) Text() string {
	if t == nil {
		return ""
	}
	return t.Scalar
}

// Texts returns the scalars of a list.
func (t *Tree) Texts() []string {
	var out []string
	for _, i := range t.Items() {
		out = append(out, i.Scalar)
	}
	return out
}

// IsTrue reports whether a scalar is true.
func (t *Tree) IsTrue() bool { return strings.EqualFold(t.Text(), "true") }
