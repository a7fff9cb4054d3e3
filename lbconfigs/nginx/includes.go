package nginx

import (
	"fmt"
	"path"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// The limits of a configuration with includes expanded: files that include another twice double with each level.
const (
	maxIncludes   = 10_000
	maxDirectives = 1_000_000
)

// expansion is the size of a file with includes expanded.
type expansion struct {
	includes, directives, depth int
}

func (e *expansion) add(o expansion) {
	e.includes, e.directives, e.depth = e.includes+o.includes, e.directives+o.directives, max(e.depth, o.depth)
}

// checkIncludes returns an error with file and line for an unreadable include, and for too many of them.
func (r *reader) checkIncludes() error {
	known := map[int]expansion{}
	_, err := r.expandFile(0, known)
	return err
}

func (r *reader) expandFile(file int, known map[int]expansion) (expansion, error) {
	if e, ok := known[file]; ok {
		return e, nil
	}
	e, err := r.expandBlock(r.payload.Config[file].File, r.payload.Config[file].Parsed, known)
	known[file] = e
	return e, err
}

func (r *reader) expandBlock(
	file string, block crossplane.Directives, known map[int]expansion,
) (e expansion, err error) {
	for _, d := range block {
		e.directives++
		pos := model.Pos{File: file, Line: d.Line}
		inner, err := r.expandBlock(file, d.Block, known)
		if err != nil {
			return e, err
		}
		if d.Block != nil {
			inner.depth++
		}
		e.add(inner)
		if d.Directive == "include" && len(d.Args) > 0 {
			if err := r.unreadableInclude(d.Args[0]); err != nil {
				return e, fmt.Errorf("%s: include %s: %s", pos, d.Args[0], strings.TrimPrefix(err.Error(), "read configuration "))
			}
		}
		for _, i := range d.Includes {
			included, err := r.expandFile(i, known)
			if err != nil {
				return e, err
			}
			included.includes++
			e.add(included)
		}
		switch {
		case e.includes > maxIncludes:
			return e, fmt.Errorf("%s: more than %s includes; include each file once", pos, units.Number(maxIncludes))
		case e.directives > maxDirectives:
			return e, fmt.Errorf("%s: more than %s directives with includes expanded; not a configuration",
				pos, units.Number(maxDirectives))
		case e.depth > reading.MaxDepth:
			return e, fmt.Errorf("%s: nested more than %d levels deep with includes expanded; not a configuration",
				pos, reading.MaxDepth)
		}
	}
	return e, nil
}

// unreadableInclude returns why files of a wildcard include are unreadable.
func (r *reader) unreadableInclude(pattern string) error {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(r.files.main), pattern)
	}
	return r.files.failed[pattern]
}
