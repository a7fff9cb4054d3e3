package failover_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// Without rotation, a server without requests in its outage may still be in rotation: early detection is not refuted.
func TestLeastconnOutages(t *testing.T) {
	pl, err := fixtures.FailoverPlan(true)
	require.NoError(t, err)
	pl.Config.Pools[0].Balance.Kind = model.LeastConnections
	h := fixtures.SimulateFailover(pl, fixtures.FailoverBalancer{HealthChecks: true}, 1)
	all := slices.Collect(h.Attempts)
	h.Attempts = func(yield func(history.Attempt) bool) {
		for _, a := range all {
			early := slices.ContainsFunc(h.Env.Faults, func(m history.FaultWindow) bool { return a.At > m.StartsBy+time.Second && a.At < m.EndsAfter })
			if !early && !yield(a) {
				return
			}
		}
	}
	r, err := checks.Judge(h)
	require.NoError(t, err)
	for _, v := range r.Verdicts {
		if v.Claim.Check == plan.CheckActive {
			assert.Equal(t, report.Undecided, v.Outcome, v.Reason)
		}
	}
}
