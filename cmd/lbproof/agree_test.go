package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/reports"
)

// The readers' own cases are put before the real balancers: lbproof says of exactly those that are refused that they would
// be, and all others start.
func TestReadersAgreeWithTheBalancers(t *testing.T) {
	files, err := filepath.Glob("../../lbconfigs/testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		last := len(archive.Files) - 1
		if archive.Files[last].Name != "claims" {
			continue // lbproof cannot read it
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, f := range archive.Files[:last] {
				at := filepath.Join(dir, f.Name)
				require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
				require.NoError(t, os.WriteFile(at, f.Data, 0o644))
			}
			p := start(t, dir, "claims", "--json", archive.Files[0].Name)
			require.Equal(t, 0, p.wait(t), p.stderr.String())
			var r reports.Reading
			require.NoError(t, json.Unmarshal(p.stdout.Bytes(), &r))
			require.NotNil(t, r.Checker, r.NotAsked)
			var rejected []string
			for _, one := range r.Problems {
				if one.Effect == lb.Rejected {
					rejected = append(rejected, one.Text)
				}
			}
			assert.Equal(t, len(rejected) == 0, r.Checker.Accepted, "lbproof: %q; the balancer: %v", rejected, r.Checker.Said)
			assert.Equal(t, r.Checker.Accepted, r.Checker.Started, "%v", r.Checker.Said)
		})
	}
}
