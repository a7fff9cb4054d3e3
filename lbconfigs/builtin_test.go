package lbconfigs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// The claims of each built-in configuration are in testdata/builtin.
func TestBuiltIn(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		t.Run(name, func(t *testing.T) {
			got := printClaims(lbconfigs.BuiltIn, name)
			golden := filepath.Join("testdata", "builtin", strings.ReplaceAll(name, "/", "-")+".txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, got.Data, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, "claims", got.Name, "%s", got.Data)
			assert.Equal(t, string(want), string(got.Data))
		})
	}
}

// Every file of a configuration is passed on byte for byte.
func TestBuiltInIsKeptByteForByte(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err)
		read := map[string]bool{}
		for _, f := range cfg.Files {
			want, err := fs.ReadFile(lbconfigs.BuiltIn, f.Name)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(f.Content), f.Name)
			read[f.Name] = true
		}
		_ = fs.WalkDir(lbconfigs.BuiltIn, name, func(file string, d fs.DirEntry, _ error) error {
			assert.True(t, d.IsDir() || read[file], "%s is no part of %s", file, name)
			return nil
		})
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err, name)
		assert.Len(t, specs[0].Files, len(cfg.Files), "every file of %s has a place of its own", name)
	}
}

// Every line of a built-in configuration that a claim or a problem names exists and is neither empty nor a comment.
func TestLinesAreReal(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err)
		lines := map[string][]string{}
		for _, f := range cfg.Files {
			lines[f.Name] = strings.Split(string(f.Content), "\n")
		}
		real := func(what string, p model.Pos) {
			t.Helper()
			if !assert.Contains(t, lines, p.File, "%s of %s", what, name) || p.Line == 0 {
				return
			}
			if assert.LessOrEqual(t, p.Line, len(lines[p.File]), "%s: %s", p, what) {
				text := strings.TrimSpace(lines[p.File][p.Line-1])
				assert.NotEmpty(t, text, "%s: %s", p, what)
				assert.False(t, strings.HasPrefix(text, "#"), "%s: %s is on a comment", p, what)
			}
		}
		for _, c := range checks.Claims(cfg) {
			real(c.ID, c.Pos)
		}
		for _, p := range cfg.Problems {
			real(p.Text, p.Pos)
		}
		for _, u := range cfg.Unread {
			real(u.Text, u.Pos)
			assert.NotEmpty(t, u.Reason)
		}
	}
}

// Claims of a configuration have distinct IDs and known checks.
func TestClaimsHaveNames(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err)
		seen := map[string]bool{}
		for _, c := range checks.Claims(cfg) {
			assert.False(t, seen[c.ID], "%s: %s twice", name, c.ID)
			seen[c.ID] = true
			_, err := checks.Find(c.Check)
			assert.NoError(t, err)
			assert.NotEmpty(t, c.Text)
		}
	}
}
