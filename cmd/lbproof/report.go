package main

import (
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
		Long:  "Decides a run from its folder alone and prints it, without touching the folder. The exit code is 0 whatever the verdicts.",
		Example: `  lbproof report lbproof-runs/baseline-20261121T101500-1f2e3d4c --format junit > junit.xml
  lbproof report RUN --format json | jq '.verdicts[] | {id: .claim.id, outcome}'`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := reports.Find(name)
			if err != nil {
				return err
			}
			r, err := judge(args[0])
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if name == "terminal" {
				w = coloured(w)
			}
			return environment(format.Write(w, r))
		},
	}
	cmd.Flags().StringVar(&name, "format", "terminal", "one of "+strings.Join(names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
