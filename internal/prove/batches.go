package prove

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// maxBatchSize limits the mutations in one run.
const maxBatchSize = 8

// batch is a set of mutations, by number, that share a run: the same checks decide each of them.
type batch struct {
	checks    []plan.Check
	mutations []int
}

// batches groups the undecided mutations into runs. It decides those that no claim can detect, because the original
// file already violates all of their claims.
func (m *Mutator) batches() []batch {
	var all []batch
	for i, change := range m.state.Mutations {
		if change.Outcome != "" {
			continue
		}
		if m.refutesAll(change.Claims) {
			m.state.Mutations[i].Outcome = report.MutationOriginalRefuted
			continue
		}
		kinds := m.checksOf(change.Claims)
		at := slices.IndexFunc(all, func(b batch) bool { return slices.Equal(b.checks, kinds) && m.fits(b, change) })
		if at < 0 {
			at, all = len(all), append(all, batch{checks: kinds})
		}
		all[at].mutations = append(all[at].mutations, i)
	}
	return all
}

// refutesAll reports whether the original file violates all of these claims.
func (m *Mutator) refutesAll(claims []string) bool {
	kept := func(id string) bool { return !slices.Contains(m.state.Refuted, id) }
	return !slices.ContainsFunc(claims, kept)
}

// fits reports whether a batch has room for another mutation, and none of its own has the same line or a
// claim in common.
func (m *Mutator) fits(b batch, change report.Mutation) bool {
	if len(b.mutations) == maxBatchSize {
		return false
	}
	conflicts := func(i int) bool {
		other := m.state.Mutations[i]
		shared := func(id string) bool { return slices.Contains(change.Claims, id) }
		return other.Pos == change.Pos || slices.ContainsFunc(other.Claims, shared)
	}
	return !slices.ContainsFunc(b.mutations, conflicts)
}

// claimsOf returns the claims that the mutations of a batch should refute.
func (m *Mutator) claimsOf(b batch) (all []string) {
	for _, i := range b.mutations {
		all = append(all, m.mutation(i).Claims...)
	}
	return all
}

// checksOf returns the checks that decide claims, each once.
func (m *Mutator) checksOf(claims []string) (all []plan.Check) {
	for _, c := range checks.Claims(m.Config) {
		if slices.Contains(claims, c.ID) && !slices.Contains(all, c.Check) {
			all = append(all, c.Check)
		}
	}
	return all
}

// remainingWork estimates the work of the batches.
func (m *Mutator) remainingWork(batches []batch, parallel int) Work {
	left, takes := 0, time.Duration(0)
	for _, b := range batches {
		left += len(b.mutations)
		takes += m.estimateRun(b.checks)
	}
	return Work{
		Mutations: len(m.state.Mutations), Decided: len(m.state.Mutations) - left,
		Runs: len(batches), Parallel: parallel, Estimate: takes / time.Duration(parallel),
	}
}

// stackOverhead is roughly how long it takes to start and remove a stack.
const stackOverhead = 10 * time.Second

// estimateRun estimates the duration of a run that decides these checks.
func (m *Mutator) estimateRun(kinds []plan.Check) time.Duration {
	takes := stackOverhead
	p, err := m.Design(kinds)
	if err != nil {
		return takes
	}
	for _, phase := range p.Phases {
		takes += phase.EstimatedDuration()
		if slices.ContainsFunc(phase.Requests, func(r plan.Request) bool { return r.StallAt != "" }) {
			takes += phase.Timeout
		}
	}
	return takes
}
