package nginx

import (
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
)

// item is a directive with its position.
type item struct {
	*crossplane.Directive
	pos model.Pos
}

func (i item) text() string {
	return strings.Join(append([]string{i.Directive.Directive}, i.Args...), " ")
}

// arg returns an argument, or "" if there are fewer.
func (i item) arg(n int) string {
	if n >= 0 && n < len(i.Args) {
		return i.Args[n]
	}
	return ""
}

// rest returns the arguments after the first.
func (i item) rest() []string { return i.Args[min(1, len(i.Args)):] }

// items returns the directives of a block with includes expanded. Crossplane rejects cycles.
func (r *reader) items(file string, block crossplane.Directives) []item {
	var out []item
	for _, d := range block {
		if d.Directive != "include" {
			out = append(out, item{d, model.Pos{File: file, Line: d.Line}})
			continue
		}
		for _, i := range d.Includes {
			included := r.payload.Config[i]
			out = append(out, r.items(included.File, included.Parsed)...)
		}
	}
	return out
}

// block returns the directives in the block of a directive.
func (r *reader) block(d item) []item { return r.items(d.pos.File, d.Block) }

// scope is a chain of nested blocks, the outermost first. A directive of an inner block overrides all of its name in
// outer ones (nginx: "directives are inherited from the previous level if and only if there are none on the current
// level").
type scope []level

// level is one block of a scope, with an index of its directives.
type level struct {
	items []item
	named map[string][]item
}

func newLevel(items []item) level {
	named := map[string][]item{}
	for _, d := range items {
		named[d.Directive.Directive] = append(named[d.Directive.Directive], d)
	}
	return level{items, named}
}

// pick returns the directives with one of the names, in order.
func (l level) pick(names ...string) []item {
	if len(names) == 1 {
		return l.named[names[0]]
	}
	for _, n := range names {
		if len(l.named[n]) > 0 {
			return pick(l.items, names...)
		}
	}
	return nil
}

// directives returns the directives with one of the names that are in effect.
func (s scope) directives(names ...string) []item {
	for i := len(s) - 1; i >= 0; i-- {
		if found := s[i].pick(names...); len(found) > 0 {
			return found
		}
	}
	return nil
}

// runsLua reports whether a program handles requests of the location.
func (s scope) runsLua() bool {
	for _, l := range s {
		for name := range l.named {
			if strings.Contains(name, "_by_lua") && !strings.HasPrefix(name, "init_") && !strings.HasPrefix(name, "log_") {
				return true
			}
		}
	}
	return false
}

// innermost returns the directives of the innermost block.
func (s scope) innermost() []item { return s[len(s)-1].items }

// directive returns the directive in effect; ok is false if there is none.
func (s scope) directive(name string) (d item, ok bool) {
	if found := s.directives(name); len(found) > 0 {
		return found[len(found)-1], true
	}
	return item{}, false
}

// hasValue reports whether the first argument of a directive is the value.
func (s scope) hasValue(name, value string) bool {
	d, ok := s.directive(name)
	return ok && d.arg(0) == value
}

// overridden returns the directives of the name that an inner block overrides.
func (s scope) overridden(name string) []item {
	var lost, inner []item
	for _, block := range s {
		if found := block.pick(name); len(found) > 0 {
			lost, inner = append(lost, inner...), found
		}
	}
	return lost
}

func (s scope) nested(block []item) scope { return append(slices.Clip(s), newLevel(block)) }

// pick returns the directives of a block with one of the names.
func pick(block []item, names ...string) []item {
	var found []item
	for _, d := range block {
		if slices.Contains(names, d.Directive.Directive) {
			found = append(found, d)
		}
	}
	return found
}

// firstArg returns the first argument, or "" of a missing directive.
func (i item) firstArg() string {
	if i.Directive == nil {
		return ""
	}
	return i.arg(0)
}
