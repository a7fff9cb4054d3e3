package run

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// A phase stops once all its stop rules are conclusive, each by its own requests only.
func TestSequentialStop(t *testing.T) {
	load := plan.Phase{
		Requests: []plan.Request{{Claim: "a"}, {Claim: "b"}},
		StopRules: []plan.StopRule{
			{Claim: "a", Shares: map[string]float64{"x": 0.5, "y": 0.5}, Tolerance: 0.2, Alpha: 0.001, Beta: 0.001},
			{Claim: "b", Shares: map[string]float64{"left": 0.5, "right": 0.5}, CountsFor: map[string]string{"x": "left", "y": "right"}, Tolerance: 0.2, Alpha: 0.001, Beta: 0.001},
		},
	}
	f := func(b func(i int) string, most int) {
		t.Helper()
		d := newSequentialStop(load)
		for i := 0; i < most; i++ {
			assert.False(t, d.decided, i)
			d.add(history.Hit{Index: 2 * i, Server: []string{"x", "y"}[i%2]})
			d.add(history.Hit{Index: 2*i + 1, Server: b(i)})
			if d.decided {
				return
			}
		}
		t.Errorf("not known after %d", most)
	}
	f(func(i int) string { return []string{"y", "x"}[i%2] }, 1000)
	f(func(int) string { return "x" }, 1000) // refuted long before the other is upheld
	none := newSequentialStop(plan.Phase{Requests: []plan.Request{{}}})
	none.add(history.Hit{Server: "x"})
	assert.False(t, none.decided)
}
