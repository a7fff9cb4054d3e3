package run

import (
	"maps"
	"slices"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

// drawing follows the draws of a phase, and says when all of them are decided. A phase without any is never.
type drawing struct {
	load  plan.Phase
	draws map[string]*drawn // by claim
	known bool
}

type drawn struct {
	plan.Draws
	test  *stats.Draws
	index map[string]int // of a server
}

func newDrawing(l plan.Phase) *drawing {
	d := &drawing{load: l, draws: map[string]*drawn{}}
	for _, one := range l.Draws {
		names := slices.Sorted(maps.Keys(one.Shares))
		shares, index := make([]float64, len(names)), map[string]int{}
		for i, name := range names {
			shares[i], index[name] = one.Shares[name], i
		}
		d.draws[one.Claim] = &drawn{one, stats.NewDraws(shares, one.Within), index}
	}
	return d
}

// see counts a hit where it is a draw.
func (d *drawing) see(h history.Hit) {
	if len(d.draws) == 0 || d.known {
		return
	}
	one := d.draws[d.load.Request(h.Index).Claim]
	if one == nil {
		return
	}
	name := h.Server
	if of, in := one.Of[name]; in {
		name = of
	}
	if i, in := one.index[name]; in {
		one.test.Add(i)
	}
	for _, other := range d.draws {
		if !other.test.Known(other.Alpha, other.Beta) {
			return
		}
	}
	d.known = true
}
