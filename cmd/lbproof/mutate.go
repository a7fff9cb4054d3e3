package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/source"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

func mutateCommand() *cobra.Command {
	var src input
	var out string
	var parallel int
	cmd := &cobra.Command{
		Use:   "mutate CONFIG",
		Short: "Find the lines of a configuration that no experiment tests",
		Long: `Changes each line that makes a promise (weight=3 becomes 2, a header gets another value, nodelay goes), runs the real balancer with
the changed file and judges it by the promises of the file as it was. A change that no promise notices survives: nobody
tests that line. The first run is of the file as it is; what it refutes counts for no change. Changes that have no promise in common,
and that the same experiments decide, share a run; where more is broken than their promises, each has its own.
What is known is kept in mutations.json in the folder of --out, and a second call goes on where the first one stopped.`,
		Example: `  lbproof mutate nginx.conf
  lbproof mutate builtin:nginx/order-api --out /tmp/mutations`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, specs, err := src.stage(args[0])
			if err != nil {
				return err
			}
			m := &mutator{source: src, name: args[0], cfg: cfg, specs: specs, out: filepath.Join(out, runName(args[0])), progress: newProgress(cmd.ErrOrStderr()), errs: cmd.ErrOrStderr()}
			if err := m.open(); err != nil {
				return environment(err)
			}
			if parallel == 0 {
				parallel = m.atOnce()
			}
			err = m.all(cmd.Context(), parallel)
			m.progress.end()
			if err != nil {
				return err
			}
			if err := reports.WriteMutations(coloured(cmd.OutOrStdout()), m.known.Mutations); err != nil {
				return environment(err)
			}
			if report.Survivors(m.known.Mutations) > 0 {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "lbproof-mutations", "folder in which run folders and mutations.json are kept")
	cmd.Flags().IntVar(&parallel, "parallel", 0, "how many run at a time; 0 is as many as the machine and the configuration's addresses allow")
	src.flags(cmd)
	src.headerFlag(cmd)
	return cmd
}

// mutator runs the mutations of a configuration.
type mutator struct {
	source   input
	name     string
	cfg      model.Config
	specs    []plan.Spec
	out      string
	progress *progress
	errs     io.Writer

	mu    sync.Mutex
	known mutationsFile
}

// mutationsFile is what is known so far, in mutations.json.
type mutationsFile struct {
	Config    string           `json:"config_sha256"` // of the files as they are
	Refuted   []string         `json:"refuted"`       // promises that the file as it is breaks
	Judged    bool             `json:"judged"`        // the file as it is was run
	Mutations []report.Mutated `json:"mutations"`
}

// open reads what an earlier call has found out of the same configuration.
func (m *mutator) open() error {
	if err := os.MkdirAll(m.out, 0o755); err != nil {
		return fmt.Errorf("make the folder of mutations: %w", err)
	}
	var all []byte
	for _, f := range m.cfg.Files {
		all = append(append(all, f.SHA256...), f.Name...)
	}
	all = append(all, strings.Join(m.source.header, "\n")...)
	digest := model.Digest(append(all, run.Version()...))
	text, err := source.ReadFile(m.file(), plan.PlanSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what is known of mutations: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(text, &m.known); err != nil {
			return fmt.Errorf("read %s: %w; without the file lbproof begins anew", m.file(), err)
		}
	}
	if m.known.Config == digest {
		return nil
	}
	m.known = mutationsFile{Config: digest}
	for _, change := range mutations.Of(m.cfg, m.decided()) {
		if change.Claims = m.dependents(change); len(change.Claims) == 0 {
			continue // it promises the same without
		}
		m.known.Mutations = append(m.known.Mutations, report.Mutated{Pos: change.Pos, Old: change.Old, New: change.New, Claims: change.Claims})
	}
	return nil
}

// dependents are the promises that somebody wrote and the changed file does not make at all, and those that it makes otherwise: of these the ones that
// the line makes, if there are some.
func (m *mutator) dependents(change mutations.Mutation) []string {
	cfg, err := m.source.reread(m.name, change.Apply(m.cfg.Files))
	if err != nil || slices.ContainsFunc(cfg.Problems, func(p model.Problem) bool { return p.Effect == model.Rejected }) {
		return change.Claims
	}
	same := map[string]string{}
	for _, c := range checks.Claims(cfg) {
		same[c.ID] = fmt.Sprint(c.Text, c.Params)
	}
	var gone, mine, others []string
	for _, c := range m.decided() {
		switch text, made := same[c.ID]; {
		case !made && !c.Implicit: // defaults go with what they are of
			gone = append(gone, c.ID)
		case text == fmt.Sprint(c.Text, c.Params):
		case slices.Contains(change.Claims, c.ID):
			mine = append(mine, c.ID)
		default:
			others = append(others, c.ID)
		}
	}
	if all := append(gone, mine...); len(all) > 0 {
		return all
	}
	return others
}

func (m *mutator) file() string { return filepath.Join(m.out, "mutations.json") }

// save keeps what is known, in one step.
func (m *mutator) save() error {
	text, err := json.MarshalIndent(m.known, "", "  ")
	if err != nil {
		return fmt.Errorf("write what is known of mutations: %w", err)
	}
	err = folder.WriteFile(m.file(), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("write what is known of mutations: %w", err)
	}
	return nil
}

// decided are the promises that there are experiments for.
func (m *mutator) decided() []plan.Claim {
	return slices.DeleteFunc(checks.Claims(m.cfg), func(c plan.Claim) bool {
		check, err := checks.Find(c.Check)
		return err != nil || !check.Decides()
	})
}

// atOnce is how many runs the machine and the addresses that the configuration names allow: two cannot have the same.
func (m *mutator) atOnce() int {
	for _, s := range m.specs {
		if _, err := netip.ParseAddr(s.Address); err == nil {
			return 1
		}
	}
	return max(1, runtime.NumCPU())
}

// all runs the file as it is, then every mutation that is not known yet.
func (m *mutator) all(ctx context.Context, parallel int) error {
	if len(m.known.Mutations) == 0 {
		return fmt.Errorf("%s: no line of it makes a promise that could be changed", m.cfg.Files[0].Name)
	}
	if !m.known.Judged {
		if err := m.asItIs(ctx); err != nil {
			return err
		}
	}
	batches, takes := m.batches(), time.Duration(0)
	left := 0
	for _, batch := range batches {
		left += len(batch)
		takes += m.lasts(m.claims(batch))
	}
	if err := environment(m.save()); err != nil {
		return err
	}
	fmt.Fprintf(m.errs, "%d mutations, %d of them known; the others take about %s in %d runs, %d at a time\n",
		len(m.known.Mutations), len(m.known.Mutations)-left, (takes / time.Duration(parallel)).Round(time.Second), len(batches), parallel)
	next, failed := make(chan []int), make(chan error, parallel)
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() {
			for batch := range next {
				if err := m.try(ctx, batch); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	err := hand(ctx, batches, next, failed)
	running.Wait()
	close(failed)
	return errors.Join(err, <-failed)
}

// inOneRun is how many mutations one run may have.
const inOneRun = 8

// batches puts mutations that are not known yet, and that a promise could notice, into runs: together those that have no promise in common,
// and that the same experiments decide.
func (m *mutator) batches() (all [][]int) {
	kinds := make([][]plan.Check, 0, len(m.known.Mutations)) // of each batch
	for i, change := range m.known.Mutations {
		if change.Outcome != "" {
			continue
		}
		if !slices.ContainsFunc(change.Claims, func(id string) bool { return !slices.Contains(m.known.Refuted, id) }) {
			m.known.Mutations[i].Outcome = report.Broken
			continue
		}
		mine := m.kinds(change.Claims)
		fits := func(batch int) bool {
			return len(all[batch]) < inOneRun && slices.Equal(kinds[batch], mine) && !slices.ContainsFunc(all[batch], func(o int) bool {
				other := m.known.Mutations[o]
				return other.Pos == change.Pos || slices.ContainsFunc(other.Claims, func(id string) bool { return slices.Contains(change.Claims, id) })
			})
		}
		at := 0
		for at < len(all) && !fits(at) {
			at++
		}
		if at == len(all) {
			all, kinds = append(all, nil), append(kinds, mine)
		}
		all[at] = append(all[at], i)
	}
	return all
}

// claims are the promises that the changes of a batch are about.
func (m *mutator) claims(batch []int) (all []string) {
	for _, i := range batch {
		all = append(all, m.known.Mutations[i].Claims...)
	}
	return all
}

// asItIs runs the file as it is, and writes down what it breaks.
func (m *mutator) asItIs(ctx context.Context) error {
	var made []string
	for _, change := range m.known.Mutations {
		made = append(made, change.Claims...)
	}
	fmt.Fprintf(m.errs, "first the file as it is, which takes about %s\n", m.lasts(made).Round(time.Second))
	r, err := m.test(ctx, m.cfg.Files, m.kinds(made))
	if err != nil {
		return err
	}
	m.known.Judged = true
	for _, v := range r.Verdicts {
		if v.Outcome == report.Refuted {
			m.known.Refuted = append(m.known.Refuted, v.Claim.ID)
		}
	}
	return environment(m.save())
}

// bringingUp is how long a stack takes to come up and go, roughly.
const bringingUp = 10 * time.Second

// lasts is how long the experiments for claims take, roughly.
func (m *mutator) lasts(claims []string) time.Duration {
	p, err := m.plan(m.kinds(claims))
	takes := bringingUp
	for _, l := range p.Phases {
		takes += l.Takes()
		if waits := slices.ContainsFunc(l.Requests, func(r plan.Request) bool { return r.Silent != "" }); waits && err == nil {
			takes += l.Timeout
		}
	}
	return takes
}

// hand gives out the batches, until one fails or ctx ends.
func hand(ctx context.Context, batches [][]int, next chan<- []int, failed <-chan error) error {
	defer close(next)
	for _, batch := range batches {
		select {
		case next <- batch:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return environment(context.Cause(ctx))
		}
	}
	return nil
}

// kinds are the checks that decide claims.
func (m *mutator) kinds(claims []string) []plan.Check {
	var kinds []plan.Check
	for _, c := range checks.Claims(m.cfg) {
		if slices.Contains(claims, c.ID) && !slices.Contains(kinds, c.Check) {
			kinds = append(kinds, c.Check)
		}
	}
	return kinds
}

func (m *mutator) plan(kinds []plan.Check) (plan.Plan, error) {
	header, err := m.source.carried()
	if err != nil {
		return plan.Plan{}, err
	}
	return experiments.Design("mutation", m.cfg, m.specs, experiments.Setup{CPUs: runtime.NumCPU(), Checks: kinds, Header: header})
}

// try runs a batch of mutations and writes down what came of each. Where the balancer does not start with them, or promises are broken that
// are none of theirs, each is run by itself.
func (m *mutator) try(ctx context.Context, batch []int) error {
	files, began := m.cfg.Files, time.Now()
	for _, i := range batch {
		files = m.change(i).Apply(files)
	}
	ours := m.claims(batch)
	r, err := m.test(ctx, files, m.kinds(ours))
	var refused *stack.RefusedError
	var down *run.DownError
	starts := !errors.As(err, &refused) && !errors.As(err, &down)
	switch {
	case ctx.Err() != nil:
		return environment(context.Cause(ctx))
	case err != nil && starts:
		return fmt.Errorf("%s: %w", m.change(batch[0]), err)
	}
	var others []string
	for _, v := range r.Verdicts {
		if v.Outcome == report.Refuted && !slices.Contains(m.known.Refuted, v.Claim.ID) && !slices.Contains(ours, v.Claim.ID) {
			others = append(others, v.Claim.ID)
		}
	}
	if len(batch) > 1 && (!starts || len(others) > 0) {
		for _, i := range batch {
			if err := m.try(ctx, []int{i}); err != nil {
				return err
			}
		}
		return nil
	}
	took := (time.Since(began) / time.Duration(len(batch))).Round(100 * time.Millisecond)
	for _, i := range batch {
		m.mu.Lock()
		found := m.known.Mutations[i]
		m.mu.Unlock()
		if found.Took, found.Others = took, others; starts {
			m.decide(&found, r.Verdicts)
		} else {
			found.Outcome, found.Why = report.Unstartable, err.Error()
		}
		if err := m.write(i, found); err != nil {
			return err
		}
	}
	return nil
}

// change is mutation number i.
func (m *mutator) change(i int) mutations.Mutation {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := m.known.Mutations[i]
	return mutations.Mutation{Pos: found.Pos, Old: found.Old, New: found.New, Claims: found.Claims}
}

// decide says whether verdicts notice a mutation.
func (m *mutator) decide(found *report.Mutated, verdicts []report.Verdict) {
	found.Outcome = report.Beyond
	for _, v := range verdicts {
		if slices.Contains(found.Claims, v.Claim.ID) && v.Outcome != report.Untestable {
			found.Outcome = report.Survived
		}
	}
	for _, v := range verdicts {
		switch {
		case !slices.Contains(found.Claims, v.Claim.ID) || slices.Contains(m.known.Refuted, v.Claim.ID):
		case v.Outcome == report.Refuted:
			found.Outcome, found.Killers = report.Killed, append(found.Killers, v.Claim.ID)
			found.Why = v.Reason
		case found.Why == "":
			found.Why = fmt.Sprintf("%s is %s: %s", v.Claim.ID, v.Outcome, v.Reason)
		}
	}
}

// write keeps what came of mutation number i.
func (m *mutator) write(i int, found report.Mutated) error {
	change := m.change(i)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known.Mutations[i] = found
	fmt.Fprintf(m.errs, "%3d of %d  %-9s %s\n", i+1, len(m.known.Mutations), found.Outcome, plain.Text(change.String()))
	return environment(m.save())
}

// test runs files under the experiments for kinds of the configuration's promises.
func (m *mutator) test(ctx context.Context, files []model.File, kinds []plan.Check) (report.Report, error) {
	plan, err := m.plan(kinds)
	if err != nil {
		return report.Report{}, err
	}
	plan.Config.Files = files
	binary, err := os.Executable()
	if err != nil {
		return report.Report{}, environment(fmt.Errorf("find this program: %w", err))
	}
	r := run.Runner{Docker: &stack.Docker{Binary: binary, Progress: func(string) {}}, Progress: quiet{}, Out: m.out}
	defer cleaningUp()()
	dir, err := r.Run(ctx, plan)
	if err != nil {
		return report.Report{}, environment(err)
	}
	return judge(dir)
}

// quiet tells nobody how a run gets on.
type quiet struct{}

func (quiet) Step(string) {}

func (quiet) Phase(string, int, int, int) {}
