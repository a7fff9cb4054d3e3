package experiments_test

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

var update = flag.Bool("update", false, "rewrite testdata/plans.digest")

var dump = flag.String("dump", "", "folder for every plan as JSON, to diff two versions")

// The design of a configuration never changes unnoticed: testdata/plans.digest holds a digest of the phases and one
// of the claims of every built-in configuration, for two cores.
func TestPlansOfBuiltIns(t *testing.T) {
	var digests strings.Builder
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		require.NoError(t, err)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err)
		plan, err := experiments.Design("plan", cfg, specs, experiments.Setup{CPUs: 2})
		require.NoError(t, err, name)
		plan.Config = model.Config{} // the model may be restructured
		digest := func(what string, value any) string {
			text, err := json.MarshalIndent(value, "", "\t")
			require.NoError(t, err)
			if *dump != "" {
				file := filepath.Join(*dump, strings.ReplaceAll(name, "/", "-")+"-"+what+".json")
				require.NoError(t, os.WriteFile(file, text, 0o644))
			}
			return fmt.Sprintf("%.12x", sha256.Sum256(text))
		}
		claims := digest("claims", plan.Claims)
		plan.Claims = nil
		fmt.Fprintf(&digests, "%-40s plan %s, claims %s\n", name, digest("plan", plan), claims)
	}
	const file = "testdata/plans.digest"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(digests.String()), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), digests.String(), "experiments or claims differ: run go test ./scenarios/experiments -run %s -dump DIR before and after, and diff", t.Name())
}
