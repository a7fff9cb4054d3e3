//go:build !race

package folder

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// Writing and reading ten times as many hits takes no more memory.
func TestHistoryMemoryIsConstant(t *testing.T) {
	heap := func(n int) uint64 {
		var most uint64
		look := func(i int) {
			if i%(n/4) == n/8 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		f, err := Create(filepath.Join(t.TempDir(), "run"), plan.Plan{Schema: plan.PlanSchema, Phases: []plan.Phase{{Count: n, Requests: sends}}})
		require.NoError(t, err)
		for i := range n {
			require.NoError(t, f.Hit(hit(i)))
			look(i)
		}
		require.NoError(t, f.Finish(history.Environment{}))
		h, err := Open(f.Dir)
		require.NoError(t, err)
		i := 0
		for range h.Hits {
			look(i)
			i++
		}
		require.NoError(t, h.Err())
		require.Equal(t, n, i)
		return most
	}
	heap(rowGroup) // buffers grow to their final size
	small, large := heap(4*rowGroup), heap(40*rowGroup)
	t.Logf("live heap at most %d KiB for %d hits, %d KiB for %d", small>>10, 4*rowGroup, large>>10, 40*rowGroup)
	assert.Less(t, large, small+small/2)
}
