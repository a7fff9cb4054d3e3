package mutations

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// A block on one line is changed inside.
func TestMutationOfABlock(t *testing.T) {
	text := "x\nlocation = /health { return 200 \"healthy\"; }\n"
	files := []model.File{model.NewFile("f", []byte(text))}
	m := Of(model.Config{Balancer: "nginx", Files: files}, []plan.Claim{{ID: "a", Pos: model.Pos{File: "f", Line: 2}}})
	require.Len(t, m, 1)
	assert.Equal(t, "x\nlocation = /health { return 200 \"lbproof\"; }\n", string(m[0].Apply(files)[0].Content))
}

// A mutation changes only its line, and every built-in configuration has lines that make claims.
func TestMutationsOfEveryConfiguration(t *testing.T) {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err, name)
		claims := checks.Claims(cfg)
		all := Of(cfg, claims)
		if len(claims) > 3 {
			assert.NotEmpty(t, all, name)
		}
		for _, m := range all {
			assert.NotEmpty(t, m.Claims, m.String())
			changed := m.Apply(cfg.Files)
			differ := 0
			for i, f := range changed {
				if f.SHA256 != cfg.Files[i].SHA256 {
					differ++
					assert.Equal(t, m.Pos.File, f.Name)
				}
			}
			assert.Equal(t, 1, differ, m.String())
		}
	}
}
