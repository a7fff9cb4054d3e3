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
	cmd := planVerb(&cobra.Command{
		Use:   "test SCENARIO|CONFIG",
		Short: "Prove a configuration: run it, judge it, report it",
		Long: "Starts the real balancer with the configuration and its backends in containers, " +
			"drives the scenario's traffic, decides\n" +
			"every promise and prints a verdict for each. For a configuration that is named instead of a " +
			"scenario lbproof designs the\n" +
			"experiments: it prints beforehand what each would find out and what it costs, " +
			"and stops those that may as soon as they know.\n" +
			"--scenario puts the configuration under a scenario's traffic instead. " +
			"The run folder keeps plan, history, logs and reports.",
		Example: `  lbproof test baseline
  lbproof test nginx.conf
  lbproof test nginx.conf --scenario spike
  lbproof test soak --for 8h
  lbproof test scenario.yaml --out /tmp/runs`,
	}, func(cmd *cobra.Command, p plan.Plan) error {
		if err := reports.WriteDesign(cmd.ErrOrStderr(), p); err != nil {
			return environment(err)
		}
		dir, ran := carryOut(cmd, p, out)
		if dir == "" {
			return ran
		}
		return errors.Join(ran, judgeFolder(cmd, dir))
	})
	outFlag(cmd, &out)
	return cmd
}

// judgeFolder decides a run, writes its reports into the folder and prints the terminal's. Its error carries the exit
// code.
func judgeFolder(cmd *cobra.Command, dir string) error {
	r, err := judge(dir)
	if err != nil {
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
	terminal, err := reports.Find("terminal")
	if err != nil {
		return err
	}
	if err := terminal.Write(coloured(cmd.OutOrStdout()), r); err != nil {
		return environment(err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), "run folder:", plain.Text(dir))
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
	r.Judged = run.Version()
	return r, environment(err)
}

// open reads a run folder. One that no run has left is the user's mistake, any other failure is the environment's.
func open(dir string) (history.History, error) {
	h, err := folder.Open(dir)
	if errors.Is(err, folder.ErrNoRun) {
		return h, err
	}
	return h, environment(err)
}

func writeReport(name string, format reports.Format, r report.Report) error {
	if err := folder.WriteFile(name, func(w io.Writer) error { return format.Write(w, r) }); err != nil {
		return fmt.Errorf("write the report %s: %w; lbproof report %s --format %s prints it and writes nothing",
			name, err, filepath.Dir(name), format.Name)
	}
	return nil
}
