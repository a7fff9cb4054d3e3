package run

import (
	"maps"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

// sequentialStop ends a phase early once all its stop rules are conclusive; without rules, never.
type sequentialStop struct {
	phase   plan.Phase
	tests   map[string]*runningTest // by claim
	decided bool
}

type runningTest struct {
	plan.StopRule
	test        *stats.SequentialTest
	serverIndex map[string]int // by server
}

func newSequentialStop(l plan.Phase) *sequentialStop {
	d := &sequentialStop{phase: l, tests: map[string]*runningTest{}}
	for _, one := range l.StopRules {
		names := slices.Sorted(maps.Keys(one.Shares))
		shares, index := make([]float64, len(names)), map[string]int{}
		for i, name := range names {
			shares[i], index[name] = one.Shares[name], i
		}
		d.tests[one.Claim] = &runningTest{one, stats.NewSequentialTest(shares, one.Tolerance), index}
	}
	return d
}

// add evaluates a hit.
func (d *sequentialStop) add(h history.Hit) {
	if len(d.tests) == 0 || d.decided {
		return
	}
	one := d.tests[d.phase.Request(h.Index).Claim]
	if one == nil {
		return
	}
	name := h.Server
	if of, in := one.CountsFor[name]; in {
		name = of
	}
	if i, in := one.serverIndex[name]; in {
		one.test.Add(i)
	}
	for _, other := range d.tests {
		if !other.test.IsConclusive(other.Alpha, other.Beta) {
			return
		}
	}
	d.decided = true
}
