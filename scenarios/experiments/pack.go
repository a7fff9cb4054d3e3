package experiments

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// pack puts trials of the same kind into one phase, and the phases in order.
func pack(cfg model.Config, claims []plan.Claim, trials map[string][]check.Trial) []*experiment {
	var all []*experiment
	together := dyingTogether(cfg)
	for _, claim := range claims {
		for _, t := range trials[claim.ID] {
			i := slices.IndexFunc(all, func(e *experiment) bool { return e.isOf(t) && e.hasRoom(t) })
			if i < 0 {
				i = len(all)
				all = append(all, begun(t, count(all, t)))
			}
			all[i].take(t, together)
			if !slices.Contains(all[i].checks, claim.Check) {
				all[i].checks = append(all[i].checks, claim.Check)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *experiment) int {
		return cmp.Or(a.kind.Order()-b.kind.Order(), min(len(a.slow), 1)-min(len(b.slow), 1))
	})
	return all
}

// begun is an experiment that trials like one can take part in. There are so many of its kind before it, which have no room.
func begun(t check.Trial, before int) *experiment {
	e := &experiment{
		kind: t.Kind, about: t.About, load: t.Load, slow: t.Slow, reload: t.Reload, move: map[string]time.Duration{},
	}
	e.load.Name, e.load.Kind, e.load.About = t.Kind.Title(t.About), t.Kind, t.About
	e.load.Requests, e.load.Draws, e.load.Count = nil, nil, 0
	if before > 0 {
		e.load.Name += fmt.Sprintf(", part %d", before+1)
	}
	return e
}

// take has a trial take part, with its faults.
func (e *experiment) take(t check.Trial, together pools) {
	e.vanish = append(e.vanish, t.Vanish...)
	e.gone, e.lasts = append(e.gone, t.Gone...), max(e.lasts, t.Lasts)
	if !slices.ContainsFunc(t.Ail, func(a check.Ailment) bool { return slices.Contains(e.ail, a) }) {
		e.ail = append(e.ail, t.Ail...)
	}
	known := func(host string) bool {
		return slices.ContainsFunc(e.kill, func(o []string) bool {
			return slices.Contains(o, host) || together.share(host, o)
		})
	}
	if len(t.Kill) > 0 && !slices.ContainsFunc(t.Kill, known) {
		e.kill = append(e.kill, t.Kill)
	}
	if t.Move != "" {
		e.move[t.Move] = max(e.move[t.Move], t.Moved)
	}
	e.join(t)
}

// isOf reports whether the experiment is of a trial's kind, and about the same.
func (e *experiment) isOf(t check.Trial) bool { return e.kind == t.Kind && e.about == t.About }

// count is how many experiments are of the trial's kind, and about the same.
func count(all []*experiment, t check.Trial) (n int) {
	for _, e := range all {
		if e.isOf(t) {
			n++
		}
	}
	return n
}

// pools are the numbers of those that have a server, by its host.
type pools map[string][]int

// dyingTogether are the pools whose deaths come all at once, which are nginx's.
func dyingTogether(cfg model.Config) pools {
	of := pools{}
	if !cfg.Dialect.Sticks {
		return of
	}
	for i, p := range cfg.Pools {
		for _, s := range p.Servers {
			of[s.Host] = append(of[s.Host], i)
		}
	}
	return of
}

// share says whether one of the pools has a server and one of others.
func (of pools) share(host string, others []string) bool {
	mine := of[host]
	return len(mine) > 0 && slices.ContainsFunc(others, func(other string) bool {
		return slices.ContainsFunc(of[other], func(i int) bool { return slices.Contains(mine, i) })
	})
}
