//go:build !race

package checks_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/checkstest"
)

// Memory does not grow with the number of requests, except for the ledger's one byte per request.
func TestJudgeMemoryIsFlat(t *testing.T) {
	if testing.Short() {
		t.Skip("judges millions of requests")
	}
	heap := func(requests int) uint64 {
		plan := checkstest.Baseline(t)
		plan.Phases[1].Count = requests
		h := fixtures.Simulate(plan, fixtures.Mutant{}, 1)
		var most uint64
		hits, n := h.Hits, 0
		h.Hits = func(yield func(history.Hit) bool) {
			hits(func(x history.Hit) bool {
				if n++; n%(requests/4) == 0 {
					var m runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, m.HeapAlloc)
				}
				return yield(x)
			})
		}
		_, err := checks.Judge(h)
		require.NoError(t, err)
		return most
	}
	small, large := heap(10_000), heap(1_000_000)
	t.Logf("live heap at most %d KiB for 10,000 requests, %d KiB for 1,000,000", small>>10, large>>10)
	assert.Less(t, large, small+2<<20)
}
