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
	var names []string
	for _, f := range reports.All {
		names = append(names, f.Name)
	}
	cmd := &cobra.Command{
		Use:   "report RUN",
		Short: "Print a run's report in another format",
		Long: "Decides a run from its folder alone and prints it, without touching the folder, " +
			"or prints what was measured in the form of\n" +
			"other tools. The exit code is 0 whatever the verdicts. The tables of the folder, *.parquet, " +
			"are for any tool that reads Parquet.",
		Example: `  lbproof report lbproof-runs/baseline-20261121T101500-1f2e3d4c --format junit > junit.xml
  lbproof report RUN --format json | jq '.verdicts[] | {id: .claim.id, outcome}'
  lbproof report RUN --format vegeta | vegeta report
  lbproof report RUN --format hdr > latencies.hlog`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return writeAs(cmd.OutOrStdout(), name, args[0]) },
	}
	cmd.Flags().StringVar(&name, "format", "terminal", "one of "+strings.Join(names, ", "))
	offer(cmd, "format", names)
	return cmd
}

// writeAs prints a run's report, or what it measured, in a format.
func writeAs(w io.Writer, name, dir string) error {
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
	if name == "terminal" {
		w = coloured(w)
	}
	return environment(format.Write(w, r))
}

// export prints what a run measured.
func export(w io.Writer, format reports.Format, dir string) error {
	h, err := open(dir)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(w)
	return environment(errors.Join(format.Export(buffered, h), buffered.Flush()))
}
