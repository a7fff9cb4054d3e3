package history

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// BreakingPoint finds the first second that is worse than Breaks says, of hits in the order of their answers.
type BreakingPoint struct {
	Breaks plan.Breaks
	Broken bool
	Second int // in which it broke, by the run's clock

	hits, failed, slow int
}

// enoughToBreak is how many hits a second must have before it is judged.
const enoughToBreak = 20

// See counts a hit.
func (b *BreakingPoint) See(h Hit) {
	if b.Broken || b.Breaks == (plan.Breaks{}) {
		return
	}
	if second := int(h.Done / time.Second); second != b.Second {
		b.Second, b.hits, b.failed, b.slow = second, 0, 0, 0
	}
	b.hits++
	if h.Failed() {
		b.failed++
	}
	if b.Breaks.Latency > 0 && h.Done-h.Due > b.Breaks.Latency {
		b.slow++
	}
	failing := b.Breaks.Errors > 0 && float64(b.failed) > b.Breaks.Errors*float64(b.hits)
	b.Broken = b.hits >= enoughToBreak && (failing || b.slow > b.hits/100)
}
