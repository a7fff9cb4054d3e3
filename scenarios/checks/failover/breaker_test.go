package failover_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// Any wrong duration of a breaker refutes it.
func TestBreakerDurations(t *testing.T) {
	i := slices.IndexFunc(fixtures.ProbeBalancers(), func(r fixtures.ProbeBalancer) bool { return r.Check == plan.CheckBreaker && r.Refutes == "" })
	for name, change := range map[string]func(*model.Breaker){
		"evaluates more often": func(b *model.Breaker) { b.CheckPeriod = b.CheckPeriod * 21 / 20 },
		"evaluates less often": func(b *model.Breaker) { b.CheckPeriod = b.CheckPeriod * 3 / 5 },
		"is open for less":     func(b *model.Breaker) { b.OpenDuration = b.OpenDuration * 5 / 3 },
		"recovers faster":      func(b *model.Breaker) { b.RecoveryDuration = b.RecoveryDuration * 5 / 3 },
		"recovers more slowly": func(b *model.Breaker) { b.RecoveryDuration = b.RecoveryDuration * 3 / 5 },
	} {
		h, err := fixtures.ProbeBalancers()[i].History()
		require.NoError(t, err)
		for i, r := range h.Plan.Config.Routes {
			if r.Breaker != nil {
				claimed := *r.Breaker
				change(&claimed)
				h.Plan.Config.Routes[i].Breaker = &claimed
			}
		}
		report, err := checks.Judge(h)
		require.NoError(t, err)
		assert.True(t, checkstest.Refuted(report)["breaker"], name)
	}
}
