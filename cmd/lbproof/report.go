package main

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/reports"
)

func reportCommand() *cobra.Command {
	var name string
	var o output
	var names []string
	for _, f := range reports.All {
		names = append(names, f.Name)
	}
	cmd := &cobra.Command{
		Use:   "report RUN",
		Short: "Print a run's report in another format",
		Long: `Decides a run from its folder alone and prints the report, or prints the measurements in the format of another
tool. Does not change the folder. The exit code is 0 whatever the verdicts. The folder's tables (*.parquet) can be
read by any Parquet tool.`,
		Example: `  lbproof report lbproof-runs/baseline-20261121T101500-1f2e3d4c --verbose
  lbproof report RUN --format junit > junit.xml
  lbproof report RUN --format json | jq '.verdicts[] | {id: .claim.id, outcome}'
  lbproof report RUN --format vegeta | vegeta report
  lbproof report RUN --format hdr > latencies.hlog`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeAs(cmd, name, args[0], o)
		},
	}
	cmd.Flags().StringVar(&name, "format", "terminal", "one of "+strings.Join(names, ", "))
	offer(cmd, "format", names)
	verboseFlag(cmd, &o)
	cmd.Flags().BoolVar(&o.strict, "strict", false, "count promises that only defaults imply")
	failOnFlag(cmd, &o, "problems that count as failures, or none (with a scenario: none)", problemEffects())
	return cmd
}

// writeAs prints a run's report, or its measurements, in a format.
func writeAs(cmd *cobra.Command, name, dir string, o output) error {
	w := cmd.OutOrStdout()
	format, err := reports.Find(name)
	if err != nil {
		return err
	}
	if format.Export != nil {
		return export(w, format, dir)
	}
	r, err := judge(dir)
	if err != nil {
		return err
	}
	if r.Gate, err = o.gateOf(cmd, r); err != nil {
		return err
	}
	if name == "terminal" {
		return environment(reports.WriteTerminal(withColours(w), r, o.verbose))
	}
	return environment(format.Write(w, r))
}

// export prints the measurements of a run.
func export(w io.Writer, format reports.Format, dir string) error {
	h, err := open(dir)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(w)
	return environment(errors.Join(format.Export(buffered, h), buffered.Flush()))
}
