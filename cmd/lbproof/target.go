package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/target"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
)

// planVerb adds arguments and flags to a verb that takes a scenario, a configuration or a plan, and passes the plan to
// do.
func planVerb(cmd *cobra.Command, do func(*cobra.Command, plan.Plan) error) *cobra.Command {
	var src target.Reader
	cmd.Args, cmd.ValidArgsFunction = usage(cobra.ExactArgs(1)), completeTarget
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := src.Plan(args[0])
		if err != nil {
			return err
		}
		return do(cmd, p)
	}
	planFlags(cmd, &src)
	return cmd
}

// configFlags adds the flags of verbs that take a configuration.
func configFlags(cmd *cobra.Command, src *target.Reader) {
	cmd.Flags().StringVar(&src.Balancer, "balancer", "",
		"balancer type, if it cannot be detected ("+strings.Join(balancers(), ", ")+")")
	cmd.Flags().StringSliceVar(&src.AllowPaths, "allow-path", nil,
		"another folder from which the configuration or scenario may include files")
}

// balancers returns the names of the supported balancers.
func balancers() (names []string) {
	for _, b := range lbconfigs.All {
		names = append(names, b.Name)
	}
	return names
}

// headerFlag adds the flag of verbs that design experiments.
func headerFlag(cmd *cobra.Command, src *target.Reader) {
	cmd.Flags().StringArrayVar(&src.Header, "header", nil,
		"header to add to every test request, e.g. credentials that the configuration requires (NAME: VALUE)")
}

// planFlags adds the flags of verbs that make a plan.
func planFlags(cmd *cobra.Command, src *target.Reader) {
	configFlags(cmd, src)
	headerFlag(cmd, src)
	cmd.Flags().StringVar(&src.Scenario, "scenario", "",
		"run the traffic and expectations of this built-in scenario instead of designed experiments")
	offer(cmd, "scenario", scenarios.List())
	cmd.Flags().StringSliceVar(&src.Checks, "checks", nil,
		"evaluate these kinds of promises only (e.g. tls,response); allows longer outages")
	offer(cmd, "checks", checks.Names())
	cmd.Flags().IntVar(&src.Balancers, "balancers", 1,
		"number of balancers with this configuration; limits are tested on each")
	cmd.Flags().DurationVar(&src.PhaseDuration, "for", 0, "override the duration of timed phases (e.g. 8h)")
}

// offer completes the value of a flag with words.
func offer(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
