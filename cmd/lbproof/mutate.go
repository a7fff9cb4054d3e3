package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/prove"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/target"
	"github.com/lbproof/lbproof/lbconfigs/mutations"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios/experiments"
)

func mutateCommand() *cobra.Command {
	var src target.Reader
	var out string
	var parallel int
	cmd := &cobra.Command{
		Use:   "mutate CONFIG",
		Short: "Find the lines of a configuration that no experiment tests",
		Long: `Changes each line that makes a promise (weight=3 becomes 2, a header gets another value, nodelay is removed),
runs the real balancer with the changed file and judges it by the promises of the original. A mutation that refutes
no claim survives: that line is untested, so verdicts say nothing about it.

The original is run first; claims that it refutes do not count for mutations. Mutations that affect different promises
share a run. Takes minutes to hours and prints an estimate first. Progress is stored in mutations.json in the
folder of --out; rerun to resume. The exit code is 1 if a mutation survives.`,
		Example: `  lbproof mutate nginx.conf
  lbproof mutate builtin:nginx/order-api --out /tmp/mutations`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			return mutate(cmd, args[0], src, filepath.Join(out, target.RunName(args[0])), parallel)
		},
	}
	cmd.Flags().StringVar(&out, "out", "lbproof-mutations", "folder for run folders and mutations.json")
	cmd.Flags().IntVar(&parallel, "parallel", 0,
		"concurrent runs (default: as many as the machine and the configuration's addresses allow)")
	configFlags(cmd, &src)
	headerFlag(cmd, &src)
	return cmd
}

// mutate runs the mutations of a configuration, keeps run folders and results in dir, and prints the survivors.
func mutate(cmd *cobra.Command, name string, src target.Reader, dir string, parallel int) error {
	cfg, specs, err := src.ConfigAndNodes(name)
	if err != nil {
		return err
	}
	header := strings.Join(src.Header, "\n")
	m := &prove.Mutator{
		Config: cfg, Dir: dir, CacheKey: header + run.Version(),
		Read: func(files []model.File) (model.Config, error) { return src.Config(name, files...) },
		Design: func(kinds []plan.Check) (plan.Plan, error) {
			fields, err := src.ProbeHeader()
			if err != nil {
				return plan.Plan{}, err
			}
			setup := experiments.Setup{CPUs: runtime.NumCPU(), Checks: kinds, ProbeHeader: fields}
			return experiments.Design("mutation", cfg, specs, setup)
		},
		Run: func(ctx context.Context, p plan.Plan) (string, error) {
			folder, err := execute(ctx, p, dir, noProgress{})
			return folder, environment(err)
		},
		Judge: judge, Progress: mutationProgress{cmd.ErrOrStderr()},
	}
	if err := m.Open(); err != nil {
		return environment(err)
	}
	if parallel == 0 {
		parallel = prove.MaxParallel(specs)
	}
	defer context.AfterFunc(cmd.Context(), func() { fmt.Fprintln(cmd.ErrOrStderr(), interruptNotice) })()
	if err := m.Mutate(cmd.Context(), parallel); err != nil {
		if cmd.Context().Err() != nil {
			return environment(errors.New("interrupted: run the same command again to resume"))
		}
		return proveError(err)
	}
	return printMutations(cmd, m.Mutations())
}

// printMutations prints the survivors, and returns the exit code as an error.
func printMutations(cmd *cobra.Command, all []report.Mutation) error {
	if err := reports.WriteMutations(withColours(cmd.OutOrStdout()), all); err != nil {
		return environment(err)
	}
	if report.Survivors(all) > 0 {
		return &exitError{code: 1}
	}
	return nil
}

// proveError marks a *prove.HarnessError as a failure of the environment.
func proveError(err error) error {
	var harness *prove.HarnessError
	if errors.As(err, &harness) {
		return environment(err)
	}
	return err
}

// mutationProgress prints the progress of the runs.
type mutationProgress struct{ w io.Writer }

func (p mutationProgress) Unchanged(takes time.Duration) {
	fmt.Fprintf(p.w, "running the original first, about %s\n", takes.Round(time.Second))
}

func (p mutationProgress) Begin(work prove.Work) {
	fmt.Fprintf(p.w, "%d mutations, %d decided already; the others take about %s in %d runs, %d concurrent\n",
		work.Mutations, work.Decided, work.Estimate.Round(time.Second), work.Runs, work.Parallel)
}

func (p mutationProgress) Decided(i, of int, m report.Mutation) {
	change := mutations.Mutation{Pos: m.Pos, Old: m.Old, New: m.New}
	fmt.Fprintf(p.w, "%3d of %d  %-9s %s\n", i+1, of, m.Outcome, plain.Text(change.String()))
}

// noProgress discards the progress of a run.
type noProgress struct{}

func (noProgress) Step(string) {}

func (noProgress) Phase(string, int, int, int) {}
