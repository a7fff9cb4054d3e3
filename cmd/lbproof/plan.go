package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/reports"
)

func planCommand() *cobra.Command {
	var src source
	cmd := &cobra.Command{
		Use:   "plan SCENARIO|CONFIG",
		Short: "Print what a run would do, as JSON that lbproof run takes",
		Long: `Prints the plan of a run: the configuration with its digest, every promise with its line, the containers with their
limits, and every phase of traffic with all defaults written out. It needs no Docker.`,
		Example: `  lbproof plan baseline
  lbproof plan nginx.conf > plan.json && lbproof run plan.json`,
		Args:              usage(cobra.ExactArgs(1)),
		ValidArgsFunction: completeTarget,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := readTarget(args[0], src)
			if err != nil {
				return err
			}
			return environment(reports.WriteJSON(cmd.OutOrStdout(), plan))
		},
	}
	src.flags(cmd)
	src.trafficFlags(cmd)
	return cmd
}

// readPlan reads a plan that lbproof plan printed.
func readPlan(name string) (lb.Plan, error) {
	var plan lb.Plan
	text, err := os.ReadFile(name)
	if err != nil {
		return plan, fmt.Errorf("read plan: %w", err)
	}
	if err := json.Unmarshal(text, &plan); err != nil {
		return plan, fmt.Errorf("%s: %w", name, err)
	}
	if plan.Schema != lb.PlanSchema {
		return plan, fmt.Errorf("%s: schema %q is not %s, which lbproof plan prints", name, plan.Schema, lb.PlanSchema)
	}
	if err := plan.Check(); err != nil {
		return plan, fmt.Errorf("%s: %w", name, err)
	}
	return plan, nil
}
