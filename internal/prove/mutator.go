// Package prove combines several runs of one configuration. Mutator finds lines that no experiment tests: it runs the
// configuration with one line changed after another.
//
// It reads no flags, prints nothing and starts no containers: callers provide functions that design, run and judge.
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

// Mutator runs the mutations of a configuration. Call Open first.
type Mutator struct {
	Config   model.Config
	Dir      string // holds mutations.json; created if missing
	CacheKey string // anything else that the results depend on, besides the configuration's files

	// Read reads the configuration with changed files. A mutation that it cannot read is valid nevertheless.
	Read func([]model.File) (model.Config, error)
	// Design plans a run that decides these checks.
	Design func(kinds []plan.Check) (plan.Plan, error)
	// Run executes a plan. A *stack.RefusedError or *run.DownError is a result of the mutation, any other error ends
	// Mutate.
	Run func(context.Context, plan.Plan) (dir string, err error)
	// Judge decides the claims of a run from its folder.
	Judge func(dir string) (report.Report, error)
	// Progress receives the progress of Mutate.
	Progress Progress

	mu    sync.Mutex
	state state
}

// Progress receives the progress of a Mutator. Its methods are never called concurrently.
type Progress interface {
	// Unchanged reports that the original file is run now, and the estimated duration.
	Unchanged(takes time.Duration)
	// Begin reports the remaining work.
	Begin(Work)
	// Decided reports the result of mutation number i, from 0.
	Decided(i, of int, m report.Mutation)
}

// Work is the remaining work of a Mutator.
type Work struct {
	Mutations, Decided int           // all mutations, and how many are decided
	Runs, Parallel     int           // runs for the others, and how many are concurrent
	Estimate           time.Duration // of the duration
}

// HarnessError is a failure of lbproof or its environment, or an interruption, as opposed to a mistake in the
// configuration.
type HarnessError struct{ Err error }

func (e *HarnessError) Error() string { return e.Err.Error() }

func (e *HarnessError) Unwrap() error { return e.Err }

// MaxParallel returns how many runs can be concurrent: one per CPU, or one if the configuration names IP addresses,
// which two runs cannot share.
func MaxParallel(specs []plan.Spec) int {
	for _, s := range specs {
		if _, err := netip.ParseAddr(s.Address); err == nil {
			return 1
		}
	}
	return max(1, runtime.NumCPU())
}

// Mutations returns all mutations with their results so far.
func (m *Mutator) Mutations() []report.Mutation { return m.state.Mutations }

// Mutate runs the original file, then every undecided mutation, with up to parallel concurrent runs. Its error is a
// *HarnessError, or one of Design, Run or Judge.
func (m *Mutator) Mutate(ctx context.Context, parallel int) error {
	if len(m.state.Mutations) == 0 {
		return fmt.Errorf("%s: no line makes a claim that a mutation could change", m.Config.Files[0].Name)
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

// dispatch sends the batches to next, until one fails or ctx ends.
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

// runBaseline runs the original file and stores the claims that it violates.
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

// runBatch runs a batch of mutations and stores their results. If the balancer does not start, or other claims than
// theirs are refuted, it runs each mutation separately.
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

// runEach runs each mutation of a batch separately.
func (m *Mutator) runEach(ctx context.Context, b batch) error {
	for _, i := range b.mutations {
		if err := m.runBatch(ctx, batch{checks: m.checksOf(m.mutation(i).Claims), mutations: []int{i}}); err != nil {
			return err
		}
	}
	return nil
}

// isStartupFailure reports whether the balancer rejected the configuration or did not start with it.
func isStartupFailure(err error) bool {
	var refused *stack.RefusedError
	var down *run.DownError
	return errors.As(err, &refused) || errors.As(err, &down)
}

// newlyRefuted returns the refuted claims that the original file keeps and that are not expected.
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

// judgeMutation sets the outcome of a mutation. It ignores verdicts on broken claims, which the original file violates.
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

// runAndJudge runs the files in the phases designed for the checks kinds.
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

// mutation returns mutation number i with its result so far.
func (m *Mutator) mutation(i int) report.Mutation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.Mutations[i]
}

// edit returns the change of mutation number i.
func (m *Mutator) edit(i int) mutations.Mutation {
	found := m.mutation(i)
	return mutations.Mutation{Pos: found.Pos, Old: found.Old, New: found.New, Claims: found.Claims}
}
