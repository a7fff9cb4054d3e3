package nginx

import (
	"fmt"
	"path"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// A configuration that stands for more, with every include written out, is none: a file that includes another twice,
// which does the same with a third, doubles with each.
const (
	maxIncludes   = 10_000
	maxDirectives = 1_000_000
)

// expansion is how much a file stands for, with every include written out.
type expansion struct {
	includes, directives, depth int
}

func (e *expansion) add(o expansion) {
	e.includes, e.directives, e.depth = e.includes+o.includes, e.directives+o.directives, max(e.depth, o.depth)
}

// checkIncludes reports, with file and line, an include whose files cannot be read, and those that are more than a
// configuration has.
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

func (r *reader) expandBlock(file string, block crossplane.Directives, known map[int]expansion) (e expansion, err error) {
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
			return e, fmt.Errorf("%s: with this there are more than %d includes: "+
				"files that include a file several times, which does so too; name each once", pos, maxIncludes)
		case e.directives > maxDirectives:
			return e, fmt.Errorf("%s: with this there are more than %d directives, includes written out: "+
				"it is no configuration", pos, maxDirectives)
		case e.depth > reading.MaxDepth:
			return e, fmt.Errorf("%s: with this blocks are nested more than %d deep, includes written out: "+
				"it is no configuration", pos, reading.MaxDepth)
		}
	}
	return e, nil
}

// unreadableInclude is why an include with a wildcard could not be read.
func (r *reader) unreadableInclude(pattern string) error {
	if !path.IsAbs(pattern) {
		pattern = path.Join(path.Dir(r.files.main), pattern)
	}
	return r.files.failed[pattern]
}
