package main

import "github.com/spf13/cobra"

func judgeCommand() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "judge RUN",
		Short: "Decide a recorded run again and rewrite its reports",
		Long: `Reads a run folder, decides every promise, writes the reports into the folder and prints the findings. Does
not require Docker and gives the same verdicts on any machine. The exit codes are those of lbproof test.`,
		Example: `  lbproof judge lbproof-runs/baseline-20261121T101500-1f2e3d4c
  lbproof judge lbproof-runs/baseline-20261121T101500-1f2e3d4c --strict`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return judgeFolder(cmd, args[0], o) },
	}
	outputFlags(cmd, &o)
	return cmd
}
