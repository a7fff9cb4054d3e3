package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/internal/stack"
)

func runCommand() *cobra.Command {
	var out string
	cmd := planVerb(&cobra.Command{
		Use:   "run SCENARIO|CONFIG|PLAN",
		Short: "Run a plan and record the history, without judging it",
		Long: `Starts the stack, sends the traffic and prints the run folder. lbproof judge decides it later, on any
machine.`,
		Example: `  lbproof run baseline
  lbproof run plan.json --out /tmp/runs`,
	}, func(cmd *cobra.Command, p plan.Plan) error {
		dir, err := runPlan(cmd, p, out)
		if dir != "" {
			fmt.Fprintln(cmd.OutOrStdout(), dir)
		}
		if err == nil && cmd.Context().Err() != nil {
			return environment(errors.New("interrupted: the run was cut short"))
		}
		return err
	})
	outFlag(cmd, &out)
	return cmd
}

// outFlag adds the flag of verbs that run a plan.
func outFlag(cmd *cobra.Command, out *string) {
	cmd.Flags().StringVar(out, "out", "lbproof-runs", "folder for run folders")
}

// interruptNotice is printed when a verb with containers is interrupted.
const interruptNotice = "interrupted: healing faults, keeping the measurements, removing the run; " +
	"a second Ctrl-C ends lbproof at once, and the reaper removes the run"

// runPlan runs a plan with progress on standard error.
func runPlan(cmd *cobra.Command, pl plan.Plan, out string) (dir string, err error) {
	p := newProgress(cmd.ErrOrStderr())
	p.phases = pl.Phases
	defer p.end()
	defer context.AfterFunc(cmd.Context(), func() { p.Step(interruptNotice) })()
	dir, err = execute(cmd.Context(), pl, out, p)
	return dir, environment(withProblems(err, pl.Config.Problems))
}

// execute runs a plan and returns its run folder in out.
func execute(ctx context.Context, p plan.Plan, out string, steps run.Progress) (dir string, err error) {
	engine, err := newEngine(steps.Step)
	if err != nil {
		return "", err
	}
	runner := run.Runner{Runtime: engine, Progress: steps, Out: out}
	defer delayExit()()
	return runner.Run(ctx, p)
}

// withProblems adds the problems that lbproof found to a balancer's refusal.
func withProblems(err error, problems []model.Problem) error {
	var refused *stack.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	for _, p := range plain.Value(problems) {
		if p.Effect != model.Rejected {
			continue
		}
		err = fmt.Errorf("%w\n%s: %s", err, p.Pos, p.Text)
		if p.Instead != "" {
			err = fmt.Errorf("%w; instead: %s", err, p.Instead)
		}
	}
	return err
}
