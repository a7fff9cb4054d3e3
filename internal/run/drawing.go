package run

import (
	"maps"
	"slices"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stats"
)

// drawing follows the draws of a phase, and says when all of them are decided. A phase without any is never.
type drawing struct {
	load  lb.Load
	draws map[string]*drawn // by claim
	known bool
}

type drawn struct {
	lb.Draws
	test  *stats.Draws
	index map[string]int // of a server
}

func newDrawing(l lb.Load) *drawing {
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
func (d *drawing) see(h lb.Hit) {
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
