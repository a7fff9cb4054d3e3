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

// planVerb completes a verb that takes whatever a plan can be made of; do gets the plan.
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

// configFlags are those of every verb that takes a configuration.
func configFlags(cmd *cobra.Command, src *target.Reader) {
	cmd.Flags().StringVar(&src.Balancer, "balancer", "",
		"whose configuration it is, where the file does not tell ("+strings.Join(balancers(), ", ")+")")
	cmd.Flags().StringSliceVar(&src.AllowPaths, "allow-path", nil,
		"a folder outside the configuration's own, or the scenario's, from which it may include files")
}

// balancers are the names of those that can be read.
func balancers() (names []string) {
	for _, b := range lbconfigs.All {
		names = append(names, b.Name)
	}
	return names
}

// headerFlag is that of verbs that design experiments.
func headerFlag(cmd *cobra.Command, src *target.Reader) {
	cmd.Flags().StringArrayVar(&src.Header, "header", nil,
		"NAME: VALUE that every request of the experiments carries, and without which something that lbproof "+
			"cannot read lets none through: a session, a key, a password")
}

// planFlags are those of verbs that make a plan of a scenario or configuration.
func planFlags(cmd *cobra.Command, src *target.Reader) {
	configFlags(cmd, src)
	headerFlag(cmd, src)
	cmd.Flags().StringVar(&src.Scenario, "scenario", "",
		"a built-in scenario whose traffic a configuration gets, and whose expectations, "+
			"instead of experiments designed for it")
	offer(cmd, "scenario", scenarios.List())
	cmd.Flags().StringSliceVar(&src.Checks, "checks", nil,
		"the kinds of promises that experiments are designed for, as tls,response; "+
			"others are listed and change no exit code, and deaths may take longer")
	offer(cmd, "checks", checks.Names())
	cmd.Flags().IntVar(&src.Balancers, "balancers", 1,
		"how many balancers have the configuration: experiments ask the limits of each of them")
	cmd.Flags().DurationVar(&src.PhaseDuration, "for", 0, "how long the scenario's phases last that say for how long, as 8h")
}

// offer completes the value of a flag, which cmd has, with these words.
func offer(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
