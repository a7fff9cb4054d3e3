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
		Short: "Start the stack, drive the traffic and keep the history, without judging it",
		Long:  `Carries out a plan and prints the run folder. lbproof judge decides it later, on any machine.`,
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

// outFlag is the flag of verbs that carry out a plan.
func outFlag(cmd *cobra.Command, out *string) {
	cmd.Flags().StringVar(out, "out", "lbproof-runs", "folder for run folders")
}

// windingDown is what a verb with containers says when it is interrupted.
const windingDown = "interrupted: healing faults, keeping the measurements, removing the run; " +
	"a second Ctrl-C ends lbproof at once, and the reaper removes the run"

// runPlan runs a plan with progress on standard error.
func runPlan(cmd *cobra.Command, pl plan.Plan, out string) (dir string, err error) {
	p := newProgress(cmd.ErrOrStderr())
	p.phases = pl.Phases
	defer p.end()
	defer context.AfterFunc(cmd.Context(), func() { p.Step(windingDown) })()
	dir, err = execute(cmd.Context(), pl, out, p)
	return dir, environment(withProblems(err, pl.Config.Problems))
}

// execute runs a plan and returns the folder in out that it leaves.
func execute(ctx context.Context, p plan.Plan, out string, told run.Progress) (dir string, err error) {
	engine, err := newEngine(told.Step)
	if err != nil {
		return "", err
	}
	runner := run.Runner{Runtime: engine, Progress: told, Out: out}
	defer delayExit()()
	return runner.Run(ctx, p)
}

// withProblems adds to a balancer's refusal the problems that lbproof found.
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
