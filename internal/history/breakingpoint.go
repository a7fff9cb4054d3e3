package history

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// BreakingPoint finds the first second that is worse than Breaks says, of hits in the order of their answers.
type BreakingPoint struct {
	Breaks plan.BreakLimits
	Broken bool
	Second int // in which it broke, by the run's clock

	hits, failed, slow int
}

// minHitsToBreak is how many hits a second must have before it is judged.
const minHitsToBreak = 20

// Add counts a hit.
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
