package history

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// BreakingPoint finds the first second whose hits exceed the thresholds in Breaks. Hits are added in order of
// completion.
type BreakingPoint struct {
	Breaks plan.BreakLimits
	Broken bool
	Second int // of the run's clock in which it broke

	hits, failed, slow int
}

// minHitsToBreak is how many hits a second needs to be judged.
const minHitsToBreak = 20

func (b *BreakingPoint) Add(h Hit) {
	if b.Broken || b.Breaks == (plan.BreakLimits{}) {
		return
	}
	if second := int(h.Done / time.Second); second != b.Second {
		b.Second, b.hits, b.failed, b.slow = second, 0, 0, 0
	}
	b.hits++
	if h.Failed() {
		b.failed++
	}
	if b.Breaks.P99 > 0 && h.Done-h.Due > b.Breaks.P99 {
		b.slow++
	}
	failing := b.Breaks.ErrorShare > 0 && float64(b.failed) > b.Breaks.ErrorShare*float64(b.hits)
	b.Broken = b.hits >= minHitsToBreak && (failing || b.slow > b.hits/100)
}
