package lbconfigs_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
)

// Every refuted claim of every balancer has a reason and an alternative.
func TestAdviceOnEveryCheck(t *testing.T) {
	for _, b := range lbconfigs.All {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, b.Name+"/weighted", "")
		require.NoError(t, err)
		for _, check := range plan.Checks {
			advice, ok := cfg.Dialect.AdviceFor(string(check), "")
			assert.True(t, ok, "%s: %s", b.Name, check)
			assert.NotEmpty(t, advice.Why, "%s: %s", b.Name, check)
			assert.NotEmpty(t, advice.Instead, "%s: %s", b.Name, check)
		}
	}
}

// Advice on a detail precedes that on the whole check, which would hide it.
func TestAdviceIsReachable(t *testing.T) {
	for _, b := range lbconfigs.All {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, b.Name+"/weighted", "")
		require.NoError(t, err)
		for _, want := range cfg.Dialect.Advice {
			got, _ := cfg.Dialect.AdviceFor(want.Check, want.Detail)
			assert.Equal(t, want, got, "%s: %s#%s", b.Name, want.Check, want.Detail)
			assert.Contains(t, plan.Checks, plan.Check(want.Check))
		}
	}
}
