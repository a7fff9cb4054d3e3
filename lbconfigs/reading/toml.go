package reading

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/lbproof/lbproof/internal/model"
)

// parseTOML reads a document with go-toml's parser, which knows the position of every node.
func parseTOML(name string, text []byte) (*Tree, error) {
	root := &Tree{Pos: model.Pos{File: name, Line: 1}, IsMap: true}
	if err := CheckDepth(name, text, "[{", "]}", " \t\r\n=,[]{}"); err != nil {
		return nil, err
	}
	p := unstable.Parser{}
	p.Reset(text)
	lines := findNewlines(text)
	table := root
	for p.NextExpression() {
		e := p.Expression()
		line := lines.lineOf(e)
		keys := keysOf(e)
		if len(keys) > MaxDepth {
			return nil, fmt.Errorf("%s:%d: nested more than %d levels deep; not a configuration", name, line, MaxDepth)
		}
		pos := model.Pos{File: name, Line: line}
		switch e.Kind {
		case unstable.Table:
			table = root.descend(pos, keys)
		case unstable.ArrayTable:
			array := root.descend(pos, keys)
			array.IsMap, array.isList = false, true
			table = &Tree{Pos: pos, IsMap: true}
			array.list = append(array.list, table)
		case unstable.KeyValue:
			table.setPath(pos, keys, e.Value(), 0)
		}
	}
	if err := p.Error(); err != nil {
		pos := model.Pos{File: name, Line: 1}
		var at *unstable.ParserError
		if errors.As(err, &at) && len(at.Highlight) > 0 {
			pos.Line = p.Shape(p.Range(at.Highlight)).Start.Line
		}
		return nil, fmt.Errorf("%s: invalid TOML: %w", pos, err)
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

// newlineOffsets are the offsets of the newlines of a text.
type newlineOffsets []int

func findNewlines(text []byte) newlineOffsets {
	var at newlineOffsets
	for i, b := range text {
		if b == '\n' {
			at = append(at, i)
		}
	}
	return at
}

// lineOf returns the line of an expression, which is that of its first key.
func (o newlineOffsets) lineOf(e *unstable.Node) int {
	it := e.Key()
	if !it.Next() || it.Node().Raw.Length == 0 {
		return 1
	}
	n, _ := slices.BinarySearch(o, int(it.Node().Raw.Offset))
	return n + 1
}

// descend returns the table under the keys, created if missing; of a list of tables the last.
func (t *Tree) descend(pos model.Pos, keys []string) *Tree {
	for _, key := range keys {
		next := t.Get(key)
		if next == nil {
			next = &Tree{Pos: pos, Key: key, IsMap: true}
			t.fields = append(t.fields, next)
		}
		if next.isList && len(next.list) > 0 {
			next = next.list[len(next.list)-1]
		}
		t = next
	}
	return t
}

// setPath stores a TOML value under keys.
func (t *Tree) setPath(pos model.Pos, keys []string, value *unstable.Node, depth int) {
	if len(keys) == 0 || depth > MaxDepth {
		return
	}
	at := t.descend(pos, keys[:len(keys)-1])
	child := &Tree{Pos: pos, Key: keys[len(keys)-1]}
	child.setValue(pos, value, depth)
	at.fields = append(at.fields, child)
}

func (t *Tree) setValue(pos model.Pos, value *unstable.Node, depth int) {
	switch value.Kind {
	case unstable.Array:
		t.isList = true
		for it := value.Children(); it.Next(); {
			child := &Tree{Pos: pos}
			child.setValue(pos, it.Node(), depth+1)
			t.list = append(t.list, child)
		}
	case unstable.InlineTable:
		t.IsMap = true
		for it := value.Children(); it.Next(); {
			t.setPath(pos, keysOf(it.Node()), it.Node().Value(), depth+1)
		}
	default:
		t.Scalar = string(value.Data)
	}
}
