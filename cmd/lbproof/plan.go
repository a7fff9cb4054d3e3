package main

import (
	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/reports"
)

func planCommand() *cobra.Command {
	return planVerb(&cobra.Command{
		Use:   "plan SCENARIO|CONFIG",
		Short: "Print what a run would do, as JSON for lbproof run",
		Long: `Prints the plan of a run: the configuration with its digest, every promise with its line, the containers with
their limits, and every phase of traffic with all defaults filled in. Does not require Docker.

lbproof test --dry-run prints the phases for people.`,
		Example: `  lbproof plan baseline
  lbproof plan nginx.conf > plan.json && lbproof run plan.json`,
	}, func(cmd *cobra.Command, p plan.Plan) error {
		return environment(reports.WriteJSON(cmd.OutOrStdout(), p))
	})
}
