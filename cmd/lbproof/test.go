package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/run"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios/checks"
)

func testCommand() *cobra.Command {
	var out string
	var o output
	var dryRun bool
	cmd := planVerb(&cobra.Command{
		Use:   "test SCENARIO|CONFIG|PLAN",
		Short: "Prove a configuration: run it, judge it, report it",
		Long: `Starts the real balancer with the configuration and its backends in containers, drives traffic, decides every
promise and prints the findings: refuted promises first, then undecided ones, then parts that cannot work.

For a configuration, lbproof designs the experiments: it prints what each costs and how many mistakes it
detects, and stops adaptive ones once conclusive. With --scenario the configuration gets the traffic and the
expectations of a scenario instead. The run folder keeps plan, history, logs and reports.

Promises that only defaults imply are notes: they do not affect the exit code unless --strict is set.`,
		Example: `  lbproof test baseline
  lbproof test nginx.conf
  lbproof test nginx.conf --dry-run
  lbproof test nginx.conf --scenario spike
  lbproof test soak --for 8h
  lbproof test scenario.yaml --out /tmp/runs`,
	}, func(cmd *cobra.Command, p plan.Plan) error {
		if _, err := o.gate(problemEffects()); err != nil {
			return err
		}
		if dryRun {
			return environment(reports.WriteDesign(cmd.OutOrStdout(), p, true))
		}
		if !o.quiet {
			if err := reports.WriteDesign(cmd.ErrOrStderr(), p, o.verbose); err != nil {
				return environment(err)
			}
		}
		dir, ran := runPlan(cmd, p, out)
		if dir == "" {
			return ran
		}
		judged := judgeFolder(cmd, dir, o)
		if errors.Is(judged, folder.ErrNoRun) { // removed since the run
			judged = environment(judged)
		}
		return errors.Join(ran, judged)
	})
	outFlag(cmd, &out)
	outputFlags(cmd, &o)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false,
		"print the phases with their cost and what they detect, and run nothing")
	return cmd
}

// judgeFolder decides a run, writes its reports into the folder and prints one. Its error carries the exit code.
func judgeFolder(cmd *cobra.Command, dir string, o output) error {
	r, err := judge(dir)
	if err != nil {
		return err
	}
	if r.Gate, err = o.gateOf(cmd, r); err != nil {
		return err
	}
	for _, format := range reports.All {
		if format.File == "" {
			continue
		}
		if err := writeReport(filepath.Join(dir, format.File), format, r); err != nil {
			return environment(err)
		}
	}
	if err := o.print(cmd, r); err != nil {
		return environment(err)
	}
	if !o.quiet {
		w := cmd.OutOrStdout()
		if o.asJSON {
			w = cmd.ErrOrStderr()
		}
		fmt.Fprintln(w, "\nrun folder:", plain.Text(dir))
	}
	if code := r.ExitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// judge decides a run from its folder alone.
func judge(dir string) (report.Report, error) {
	h, err := open(dir)
	if err != nil {
		return report.Report{}, err
	}
	r, err := checks.Judge(h)
	r.JudgedBy = run.Version()
	return r, environment(err)
}

// open reads a run folder. A folder that is not a run folder is the user's mistake; any other error is the
// environment's.
func open(dir string) (history.History, error) {
	h, err := folder.Open(dir)
	if errors.Is(err, folder.ErrNoRun) {
		return h, err
	}
	return h, environment(err)
}

func writeReport(name string, format reports.Format, r report.Report) error {
	if err := folder.WriteFile(name, func(w io.Writer) error { return format.Write(w, r) }); err != nil {
		return fmt.Errorf("write the report %s: %w; lbproof report %s --format %s prints it instead",
			name, err, filepath.Dir(name), format.Name)
	}
	return nil
}
