// Package balancertest is what the tests of balancers share: a fuzz function for readers and an assertion on mutations.
// It is linked into tests only. Tests of a single balancer are in its folder.
package balancertest

import (
	"errors"
	"io/fs"
	"path"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// Fuzz reads arbitrary content as the balancer's main file, called name. No input makes a reader panic, hang or open
// other files, and what it accepts can be processed.
func Fuzz(f *testing.F, balancer, name string) {
	_ = fs.WalkDir(lbconfigs.BuiltIn, balancer, func(file string, d fs.DirEntry, _ error) error {
		if !d.IsDir() {
			text, _ := fs.ReadFile(lbconfigs.BuiltIn, file)
			f.Add(text)
		}
		return nil
	})
	f.Fuzz(func(t *testing.T, content []byte) {
		fsys := singleFileFS{name: name, inner: fstest.MapFS{name: {Data: content}}}
		began := time.Now()
		cfg, err := lbconfigs.Read(fsys, name, balancer)
		if err != nil {
			require.Contains(t, err.Error(), name)
			return
		}
		claims := checks.Claims(cfg)
		lbconfigs.CountLines(cfg, claims)
		for _, c := range claims {
			require.NotEmpty(t, c.Pos.File, c.ID)
		}
		_, _ = lbconfigs.Specs(cfg)
		_, _ = cfg.Route(80, "a.example", "/api/x")
		require.Less(t, time.Since(began), 10*time.Second)
	})
}

// singleFileFS is a file system with a single file: paths outside it are errors.
type singleFileFS struct {
	name  string
	inner fstest.MapFS
}

func (o singleFileFS) Open(name string) (fs.File, error) {
	if path.Clean(name) != o.name && path.Clean(name) != "." {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("outside")}
	}
	return o.inner.Open(path.Clean(name))
}

// Mutate asserts the mutations of a line of the balancer that makes several claims.
func Mutate(t *testing.T, balancer, line string, want ...string) {
	t.Helper()
	at := model.Pos{File: "f", Line: 1}
	claims := []plan.Claim{{ID: "a", Pos: at}}
	for _, check := range []string{"weights", "passive", "backup", "response", "active", "conns"} {
		claims = append(claims, plan.Claim{ID: check, Check: plan.Check(check), Pos: at})
	}
	var got []string
	cfg := model.Config{Balancer: balancer, Files: []model.File{model.NewFile("f", []byte("    "+line+"\n"))}}
	for _, m := range mutations.Of(cfg, claims) {
		got = append(got, m.New)
		assert.Equal(t, line, m.Old)
	}
	assert.Equal(t, want, got, line)
}
