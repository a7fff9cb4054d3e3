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

// pack puts requirements of the same kind into one phase, and orders the phases.
func pack(cfg model.Config, claims []plan.Claim, requirements map[string][]check.Requirement) []*draft {
	var all []*draft
	sharedPools := sharedOutagePools(cfg)
	for _, claim := range claims {
		for _, t := range requirements[claim.ID] {
			i := slices.IndexFunc(all, func(e *draft) bool { return e.matches(t) && e.hasRoomFor(t) })
			if i < 0 {
				i = len(all)
				all = append(all, newDraft(t, countMatching(all, t)))
			}
			all[i].add(t, sharedPools)
			if !slices.Contains(all[i].checks, claim.Check) {
				all[i].checks = append(all[i].checks, claim.Check)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *draft) int {
		return cmp.Or(a.kind.Order()-b.kind.Order(), min(len(a.slow), 1)-min(len(b.slow), 1))
	})
	return all
}

// newDraft starts a draft for requirements like t. before is the number of full drafts of its kind.
func newDraft(t check.Requirement, before int) *draft {
	e := &draft{
		kind: t.Kind, about: t.About, phase: t.Phase, slow: t.SlowServers,
		reloadAt: t.ReloadAt, moves: map[string]time.Duration{},
	}
	e.phase.Name, e.phase.Kind, e.phase.About = t.Kind.Title(t.About), t.Kind, t.About
	e.phase.Requests, e.phase.StopRules, e.phase.Count = nil, nil, 0
	if before > 0 {
		e.phase.Name += fmt.Sprintf(", part %d", before+1)
	}
	return e
}

// add adds a requirement with its faults.
func (e *draft) add(t check.Requirement, sharedPools poolsByHost) {
	e.unreachable = append(e.unreachable, t.Unreachable...)
	e.allDown, e.allDownFor = append(e.allDown, t.AllDown...), max(e.allDownFor, t.AllDownFor)
	known := func(a check.LateHealthChecks) bool { return slices.Contains(e.slowChecks, a) }
	if !slices.ContainsFunc(t.LateChecks, known) {
		e.slowChecks = append(e.slowChecks, t.LateChecks...)
	}
	goesDown := func(host string) bool {
		return slices.ContainsFunc(e.outageGroups, func(o []string) bool {
			return slices.Contains(o, host) || sharedPools.sharePool(host, o)
		})
	}
	if len(t.Outages) > 0 && !slices.ContainsFunc(t.Outages, goesDown) {
		e.outageGroups = append(e.outageGroups, t.Outages)
	}
	if t.MovedHost != "" {
		e.moves[t.MovedHost] = max(e.moves[t.MovedHost], t.MovedFor)
	}
	e.merge(t)
}

// matches reports whether a requirement has the draft's kind and subject.
func (e *draft) matches(t check.Requirement) bool { return e.kind == t.Kind && e.about == t.About }

// countMatching counts the drafts that match a requirement.
func countMatching(all []*draft, t check.Requirement) (n int) {
	for _, e := range all {
		if e.matches(t) {
			n++
		}
	}
	return n
}

// poolsByHost holds the indices of the pools that contain a host.
type poolsByHost map[string][]int

// sharedOutagePools returns the pools whose outages must coincide: nginx's.
func sharedOutagePools(cfg model.Config) poolsByHost {
	of := poolsByHost{}
	if !cfg.Dialect.PinsConnections {
		return of
	}
	for i, p := range cfg.Pools {
		for _, s := range p.Servers {
			of[s.Host] = append(of[s.Host], i)
		}
	}
	return of
}

// sharePool reports whether a pool contains host and one of others.
func (of poolsByHost) sharePool(host string, others []string) bool {
	mine := of[host]
	return len(mine) > 0 && slices.ContainsFunc(others, func(other string) bool {
		return slices.ContainsFunc(of[other], func(i int) bool { return slices.Contains(mine, i) })
	})
}
