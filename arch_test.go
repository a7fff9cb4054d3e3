package lbproof_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/lbproof/lbproof/"

// arrows are the imports allowed between our packages. A new arrow is one edited line here, with its reason.
var arrows = map[string][]string{
	"internal/lb":        {},                                                                                                                                        // the nouns know nobody
	"internal/plain":     {},                                                                                                                                        // text that is nobody's of ours
	"internal/stats":     {},                                                                                                                                        // plain numbers
	"backends":           {},                                                                                                                                        // as small as what it stands for
	"internal/load":      {"internal/lb"},                                                                                                                           // a Load in, Hits out
	"internal/agent":     {"backends"},                                                                                                                              // backends: the clock that all containers share
	"internal/stack":     {"backends", "internal/agent", "internal/lb"},                                                                                             // Specs in, Nodes out; what it tells agents to do, and backends by their environment
	"internal/source":    {},                                                                                                                                        // a name in, a file out
	"lbconfigs":          {"internal/lb", "internal/source"},                                                                                                        // a file in, a Config out
	"reports":            {"internal/lb", "internal/plain"},                                                                                                         // a Report in, text out
	"scenarios/checks":   {"internal/lb", "internal/stats"},                                                                                                         // a History in, Findings out
	"scenarios/faults":   {"backends", "internal/agent", "internal/lb"},                                                                                             // an Event in; a Node is what it needs of one, agents and services are told what to do
	"scenarios":          {"internal/lb", "internal/source", "internal/stats", "scenarios/checks", "scenarios/faults"},                                              // stats: how many probes a claim needs
	"internal/run":       {"internal/agent", "internal/lb", "internal/load", "internal/source", "internal/stack", "internal/stats", "scenarios/faults", "backends"}, // backends: the worker reads their ledgers; agent: what it saw; stats: a phase ends when its draws are decided
	"fixtures/calibrate": {"fixtures", "internal/lb", "internal/run", "internal/stats", "scenarios/checks"},                                                         // the laws against simulated and recorded runs
	"fixtures/peers":     {"internal/lb", "internal/load", "internal/run"},                                                                                          // our engines beside other load generators
	"fixtures":           {"internal/lb", "internal/stats", "lbconfigs", "scenarios", "scenarios/checks"},                                                           // simulated runs of the built-in plans; checks: where keys belong
	"cmd/lbproof":        nil,                                                                                                                                       // may import all
}

// pure packages read no file and open no connection: everything right of the history is a function of it.
var pure = []string{"internal/lb", "internal/plain", "internal/stats", "scenarios/checks", "reports"}

func TestArrows(t *testing.T) {
	imports := readImports(t)
	for dir, imported := range imports {
		allowed, known := arrows[dir]
		if !assert.True(t, known, "the package %s is not in the table: add it with what it may import", dir) || dir == "cmd/lbproof" {
			continue
		}
		for _, i := range imported {
			if ours, ok := strings.CutPrefix(i, module); ok {
				assert.Contains(t, allowed, ours, "%s imports %s, which the table does not allow", dir, ours)
			}
			if slices.Contains(pure, dir) {
				assert.NotContains(t, []string{"os", "net", "net/http"}, i, "%s imports %s and is no longer pure", dir, i)
			}
			if strings.HasPrefix(i, "gonum.org/") {
				assert.Equal(t, "internal/stats", dir, "only stats uses gonum")
			}
		}
	}
	for dir := range arrows {
		assert.Contains(t, imports, dir, "the table names a package that is not there")
	}
}

// readImports lists what the non-test files of each folder import.
func readImports(t *testing.T) map[string][]string {
	imports := map[string][]string{}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != "."):
			return filepath.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(name))
		for _, i := range file.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports[dir] = append(imports[dir], text)
		}
		return nil
	})
	require.NoError(t, err)
	return imports
}
