package failover_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// A request refused by a limit never reached a server: it is no evidence.
func TestRateLimitedRequestsAreNoEvidence(t *testing.T) {
	pl, err := fixtures.FailoverPlan(false)
	require.NoError(t, err)
	for i := range pl.Config.Routes {
		pl.Config.Routes[i].Limits = []model.Limit{{Algorithm: model.LeakyBucket, Status: 503}}
	}
	n := func(every int, code int) (outcome report.Outcome, n int) {
		h := fixtures.SimulateFailover(pl, fixtures.FailoverBalancer{}, 1)
		hits := h.Hits
		h.Hits = func(yield func(history.Hit) bool) {
			for hit := range hits {
				if every > 0 && hit.Seq%uint64(every) == 0 {
					hit.Code, hit.Server = code, ""
				}
				if !yield(hit) {
					return
				}
			}
		}
		r, err := checks.Judge(h)
		require.NoError(t, err)
		for _, v := range r.Verdicts {
			if v.Claim.Check == plan.CheckRetries {
				return v.Outcome, v.N
			}
		}
		return 0, 0
	}
	_, all := n(0, 0)
	outcome, some := n(2, 503)
	assert.Equal(t, report.Upheld, outcome)
	assert.InDelta(t, float64(all)/2, some, 0.05*float64(all))
	for _, code := range []int{503, 404, 403} { // nor the balancer's own responses
		outcome, none := n(1, code)
		assert.Equal(t, report.Undecided, outcome)
		assert.Zero(t, none)
	}
}
