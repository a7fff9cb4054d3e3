package prove

import (
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// inOneRun is how many mutations one run may have.
const inOneRun = 8

// batch is mutations that share a run, by their numbers. The same experiments, for these kinds of promises, decide each of them.
type batch struct {
	kinds   []plan.Check
	numbers []int
}

// batches puts the mutations that are not known yet, and that a promise could notice, into runs. Those that no promise could notice, because
// the file as it is breaks all that they are about, are known from now on.
func (m *Mutator) batches() []batch {
	var all []batch
	for i, change := range m.known.Mutations {
		if change.Outcome != "" {
			continue
		}
		if m.breaksAll(change.Claims) {
			m.known.Mutations[i].Outcome = report.Broken
			continue
		}
		kinds := m.kinds(change.Claims)
		at := slices.IndexFunc(all, func(b batch) bool { return slices.Equal(b.kinds, kinds) && m.takes(b, change) })
		if at < 0 {
			at, all = len(all), append(all, batch{kinds: kinds})
		}
		all[at].numbers = append(all[at].numbers, i)
	}
	return all
}

// breaksAll reports whether the file as it is breaks all of these promises.
func (m *Mutator) breaksAll(claims []string) bool {
	kept := func(id string) bool { return !slices.Contains(m.known.Refuted, id) }
	return !slices.ContainsFunc(claims, kept)
}

// takes reports whether a batch has room for one more mutation, and none of its own is about the same line or a promise of that one.
func (m *Mutator) takes(b batch, change report.Mutated) bool {
	if len(b.numbers) == inOneRun {
		return false
	}
	meets := func(i int) bool {
		other := m.known.Mutations[i]
		shared := func(id string) bool { return slices.Contains(change.Claims, id) }
		return other.Pos == change.Pos || slices.ContainsFunc(other.Claims, shared)
	}
	return !slices.ContainsFunc(b.numbers, meets)
}

// claims are the promises that the mutations of a batch are about.
func (m *Mutator) claims(b batch) (all []string) {
	for _, i := range b.numbers {
		all = append(all, m.mutated(i).Claims...)
	}
	return all
}

// kinds are the checks that decide claims.
func (m *Mutator) kinds(claims []string) (all []plan.Check) {
	for _, c := range checks.Claims(m.Config) {
		if slices.Contains(claims, c.ID) && !slices.Contains(all, c.Check) {
			all = append(all, c.Check)
		}
	}
	return all
}

// work is what running the batches comes to.
func (m *Mutator) work(batches []batch, parallel int) Work {
	left, takes := 0, time.Duration(0)
	for _, b := range batches {
		left += len(b.numbers)
		takes += m.lasts(b.kinds)
	}
	return Work{
		Mutations: len(m.known.Mutations), Known: len(m.known.Mutations) - left,
		Runs: len(batches), Parallel: parallel, Takes: takes / time.Duration(parallel),
	}
}

// bringingUp is how long a stack takes to come up and go, roughly.
const bringingUp = 10 * time.Second

// lasts is how long the experiments for kinds of promises take, roughly.
func (m *Mutator) lasts(kinds []plan.Check) time.Duration {
	takes := bringingUp
	p, err := m.Design(kinds)
	if err != nil {
		return takes
	}
	for _, phase := range p.Phases {
		takes += phase.Takes()
		if slices.ContainsFunc(phase.Requests, func(r plan.Request) bool { return r.Silent != "" }) {
			takes += phase.Timeout
		}
	}
	return takes
}
