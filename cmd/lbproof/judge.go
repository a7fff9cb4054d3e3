package main

import "github.com/spf13/cobra"

func judgeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "judge RUN",
		Short: "Decide a run again from its folder, and write its reports anew",
		Long: "Reads a run folder, decides every promise, writes the reports into the folder and prints the " +
			"verdicts. It needs no\n" +
			"Docker, and gives the same answer on any machine.",
		Example: "  lbproof judge lbproof-runs/baseline-20261121T101500-1f2e3d4c",
		Args:    usage(cobra.ExactArgs(1)),
		RunE:    func(cmd *cobra.Command, args []string) error { return judgeFolder(cmd, args[0]) },
	}
}
