package reading

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbproof/lbproof/internal/model"
)

// PosOr is where a part stands, or otherwise where there is none.
func (t *Tree) PosOr(otherwise model.Pos) model.Pos {
	if t == nil {
		return otherwise
	}
	return t.Pos
}

// Tree is a YAML or TOML document, with the line of every part. A nil tree is a part that is not there: every method
// may be called on it.
type Tree struct {
	Pos    model.Pos
	Key    string
	Scalar string  // where kind is a scalar
	fields []*Tree // of a map, in their order
	list   []*Tree
	IsMap  bool
	isList bool
}

// A configuration that is nested deeper or has more parts, aliases followed, is none.
const (
	MaxDepth = 64
	maxParts = 200_000
)

// ParseTree reads a document by the suffix of its name.
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

// treeBuilder takes over YAML nodes, and counts them: aliases of aliases can stand for more than fits into memory.
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
		return fmt.Errorf("%s: this is no YAML: %s", pos, m[2])
	}
	return fmt.Errorf("%s: this is no YAML: %w", pos, err)
}

func (f *treeBuilder) fill(t *Tree, n *yaml.Node, depth int) error {
	t.Pos = model.Pos{File: f.name, Line: max(1, n.Line)}
	if f.parts++; depth > MaxDepth || f.parts > maxParts {
		return fmt.Errorf("%s: this is nested more than %d deep, or stands for more than %d parts: "+
			"it is no configuration", t.Pos, MaxDepth, maxParts)
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
		child.Pos.Line = max(1, n.Content[i].Line) // the key's line says more than its content's
		t.fields = append(t.fields, child)
	}
	return nil
}

// Get is the part of that name, upper and lower case alike as in Traefik; nil where there is none.
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

// Parts are the fields of a map.
func (t *Tree) Parts() []*Tree {
	if t == nil {
		return nil
	}
	return t.fields
}

// Items are the elements of a list.
func (t *Tree) Items() []*Tree {
	if t == nil {
		return nil
	}
	return t.list
}

// Text is a scalar; empty where there is none.
func (t *Tree) Text() string {
	if t == nil {
		return ""
	}
	return t.Scalar
}

// Texts are the scalars of a list.
func (t *Tree) Texts() []string {
	var out []string
	for _, i := range t.Items() {
		out = append(out, i.Scalar)
	}
	return out
}

// IsTrue says whether a scalar is true.
func (t *Tree) IsTrue() bool { return strings.EqualFold(t.Text(), "true") }
