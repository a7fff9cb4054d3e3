// Package prove is what several runs of one configuration show together. Mutator says which of its lines no experiment tests: it has
// the configuration run with one line changed after another.
//
// It knows no flag, prints nothing and starts no container: who uses it hands in what designs, carries out and judges a run.
package prove

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
)

// Mutator runs the mutations of a configuration. Open it before anything else.
type Mutator struct {
	Config   model.Config
	Dir      string // keeps mutations.json; it is made if there is none
	CacheKey string // what the results depend on beside the configuration's files, in any form

	// Read reads the configuration with other files. One that it cannot read is a mutation like any other.
	Read func([]model.File) (model.Config, error)
	// Design plans the experiments that decide these kinds of promises.
	Design func(kinds []plan.Check) (plan.Plan, error)
	// Run carries out a plan. A *stack.RefusedError or *run.DownError is an answer of the balancer's; any other error ends all.
	Run func(context.Context, plan.Plan) (dir string, err error)
	// Judge decides the folder that Run has left.
	Judge func(dir string) (report.Report, error)
	// Progress is told how it gets on.
	Progress Progress

	mu    sync.Mutex
	state state
}

// Progress is told how the runs of mutations get on. No two of its methods are called at once.
type Progress interface {
	// Unchanged tells that the file as it is is run now, and about how long that takes.
	Unchanged(takes time.Duration)
	// Begin tells of the runs that are left.
	Begin(Work)
	// Decided tells what became of mutation number i, from 0, of so many.
	Decided(i, of int, m report.Mutation)
}

// Work is what is left to do.
type Work struct {
	Mutations, Decided int           // Known of all Mutations are decided
	Runs, Parallel     int           // so many runs decide the others, Parallel at a time
	Estimate           time.Duration // about how long that is
}

// HarnessError is a failure of the machine or of lbproof, or an interruption: no mistake in the configuration.
type HarnessError struct{ Err error }

func (e *HarnessError) Error() string { return e.Err.Error() }

func (e *HarnessError) Unwrap() error { return e.Err }

// MaxParallel is how many runs the machine and the addresses that the configuration names allow: two cannot have the same.
func MaxParallel(specs []plan.Spec) int {
	for _, s := range specs {
		if _, err := netip.ParseAddr(s.Address); err == nil {
			return 1
		}
	}
	return max(1, runtime.NumCPU())
}

// Mutations are all mutations, with what is known of them.
func (m *Mutator) Mutations() []report.Mutation { return m.state.Mutations }

// Mutate runs the file as it is, then every mutation that is not known yet, so many runs at a time. Its error is a *HarnessError, or what
// Design, Run or Judge returned.
func (m *Mutator) Mutate(ctx context.Context, parallel int) error {
	if len(m.state.Mutations) == 0 {
		return fmt.Errorf("%s: no line of it makes a promise that could be changed", m.Config.Files[0].Name)
	}
	if !m.state.BaselineJudged {
		if err := m.runBaseline(ctx); err != nil {
			return err
		}
	}
	batches := m.batches()
	if err := m.save(); err != nil {
		return err
	}
	m.Progress.Begin(m.remainingWork(batches, parallel))
	next, failed := make(chan batch), make(chan error, parallel)
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for b := range next {
				if err := m.runBatch(ctx, b); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := dispatch(ctx, batches, next, failed)
	running.Wait()
	close(failed)
	return errors.Join(err, <-failed)
}

// dispatch gives out the batches, until one fails or ctx ends.
func dispatch(ctx context.Context, batches []batch, next chan<- batch, failed <-chan error) error {
	defer close(next)
	for _, b := range batches {
		select {
		case next <- b:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return &HarnessError{context.Cause(ctx)}
		}
	}
	return nil
}

// runBaseline runs the file as it is, and writes down what it breaks.
func (m *Mutator) runBaseline(ctx context.Context) error {
	var made []string
	for _, change := range m.state.Mutations {
		made = append(made, change.Claims...)
	}
	kinds := m.checksOf(made)
	m.Progress.Unchanged(m.estimateRun(kinds))
	r, err := m.runAndJudge(ctx, m.Config.Files, kinds)
	if err != nil {
		return err
	}
	m.state.BaselineJudged = true
	for _, v := range r.Verdicts {
		if v.Outcome == report.Refuted {
			m.state.Refuted = append(m.state.Refuted, v.Claim.ID)
		}
	}
	return m.save()
}

// runBatch runs a batch of mutations and writes down what came of each. Where the balancer does not start with them, or promises are broken that
// are none of theirs, each is run by itself.
func (m *Mutator) runBatch(ctx context.Context, b batch) error {
	files, began := m.Config.Files, time.Now()
	for _, i := range b.mutations {
		files = m.edit(i).Apply(files)
	}
	r, err := m.runAndJudge(ctx, files, b.checks)
	switch {
	case ctx.Err() != nil:
		return &HarnessError{context.Cause(ctx)}
	case err != nil && !isStartupFailure(err):
		return fmt.Errorf("%s: %w", m.edit(b.mutations[0]), err)
	}
	others := m.newlyRefuted(r.Verdicts, m.claimsOf(b))
	if several := len(b.mutations) > 1; several && (err != nil || len(others) > 0) {
		return m.runEach(ctx, b)
	}
	took := (time.Since(began) / time.Duration(len(b.mutations))).Round(100 * time.Millisecond)
	for _, i := range b.mutations {
		found := m.mutation(i)
		found.Duration, found.OtherKillers = took, others
		if err != nil {
			found.Outcome, found.Reason = report.MutationRefused, err.Error()
		} else {
			judgeMutation(&found, r.Verdicts, m.state.Refuted)
		}
		if err := m.record(i, found); err != nil {
			return err
		}
	}
	return nil
}

// runEach runs each mutation of a batch by itself.
func (m *Mutator) runEach(ctx context.Context, b batch) error {
	for _, i := range b.mutations {
		if err := m.runBatch(ctx, batch{checks: m.checksOf(m.mutation(i).Claims), mutations: []int{i}}); err != nil {
			return err
		}
	}
	return nil
}

// isStartupFailure reports whether an error of a run is the balancer's answer to its configuration.
func isStartupFailure(err error) bool {
	var refused *stack.RefusedError
	var down *run.DownError
	return errors.As(err, &refused) || errors.As(err, &down)
}

// newlyRefuted are the promises that verdicts refute, that the file as it is keeps, and that are none of ours.
func (m *Mutator) newlyRefuted(verdicts []report.Verdict, ours []string) []string {
	var others []string
	for _, v := range verdicts {
		old := slices.Contains(m.state.Refuted, v.Claim.ID)
		if v.Outcome == report.Refuted && !old && !slices.Contains(ours, v.Claim.ID) {
			others = append(others, v.Claim.ID)
		}
	}
	return others
}

// judgeMutation says whether verdicts notice a mutation. What the file as it is breaks, broken, notices nothing.
func judgeMutation(found *report.Mutation, verdicts []report.Verdict, broken []string) {
	found.Outcome = report.MutationUntestable
	for _, v := range verdicts {
		if slices.Contains(found.Claims, v.Claim.ID) && v.Outcome != report.Untestable {
			found.Outcome = report.MutationSurvived
		}
	}
	for _, v := range verdicts {
		switch {
		case !slices.Contains(found.Claims, v.Claim.ID) || slices.Contains(broken, v.Claim.ID):
		case v.Outcome == report.Refuted:
			found.Outcome, found.Killers = report.MutationKilled, append(found.Killers, v.Claim.ID)
			found.Reason = v.Reason
		case found.Reason == "":
			found.Reason = fmt.Sprintf("%s is %s: %s", v.Claim.ID, v.Outcome, v.Reason)
		}
	}
}

// runAndJudge runs files under the experiments for kinds of the configuration's promises.
func (m *Mutator) runAndJudge(ctx context.Context, files []model.File, kinds []plan.Check) (report.Report, error) {
	p, err := m.Design(kinds)
	if err != nil {
		return report.Report{}, err
	}
	p.Config.Files = files
	dir, err := m.Run(ctx, p)
	if err != nil {
		return report.Report{}, err
	}
	return m.Judge(dir)
}

// mutation is mutation number i and what is known of it.
func (m *Mutator) mutation(i int) report.Mutation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Mutations[i]
}

// edit is mutation number i.
func (m *Mutator) edit(i int) mutations.Mutation {
	found := m.mutation(i)
	return mutations.Mutation{Pos: found.Pos, Old: found.Old, New: found.New, Claims: found.Claims}
}
