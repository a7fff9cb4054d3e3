package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/reports"
)

// output holds the flags of how a verb prints a report, and of what makes its exit code 1.
type output struct {
	verbose, quiet, asJSON bool
	strict                 bool
	failOn                 []string
}

// outputFlags adds the flags of verbs that judge a run.
func outputFlags(cmd *cobra.Command, o *output) {
	verboseFlag(cmd, o)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print the summary line only")
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "print the report as JSON")
	cmd.MarkFlagsMutuallyExclusive("verbose", "quiet", "json")
	cmd.Flags().BoolVar(&o.strict, "strict", false,
		"let promises that only defaults imply affect the exit code")
	failOnFlag(cmd, o, "problems that make the exit code 1, or none (with a scenario: none)", problemEffects())
}

func verboseFlag(cmd *cobra.Command, o *output) {
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false,
		"print every promise with its evidence, and the tables of traffic, containers and fairness")
}

// failOnFlag adds the flag of verbs that report parts of a configuration that cannot work.
func failOnFlag(cmd *cobra.Command, o *output, use string, effects []string) {
	cmd.Flags().StringSliceVar(&o.failOn, "fail-on", effects, use)
	offer(cmd, "fail-on", append(slices.Clone(effects), failOnNothing))
}

const (
	failOnNothing = "none"    // of --fail-on
	failOnRefusal = "refused" // of --fail-on: the balancer itself refuses the configuration
)

// problemEffects returns the values of --fail-on.
func problemEffects() (words []string) {
	for _, e := range []model.Effect{model.Rejected, model.Dropped, model.Inert, model.Misleading} {
		words = append(words, string(e))
	}
	return words
}

// gate returns which findings affect the exit code, by the flags.
func (o output) gate(known []string) (report.Gate, error) {
	g := report.Gate{Strict: o.strict, FailOn: []model.Effect{}}
	for _, word := range o.failOn {
		switch {
		case word == failOnNothing && len(o.failOn) == 1:
		case slices.Contains(known, word):
			g.FailOn = append(g.FailOn, model.Effect(word))
		default:
			return g, fmt.Errorf("--fail-on %s: unknown finding; choose from %s, or %s alone",
				word, strings.Join(known, ", "), failOnNothing)
		}
	}
	return g, nil
}

// gateOf returns the gate for a report. For a scenario, parts of the configuration that cannot work are shown but do
// not count unless --fail-on is set.
func (o output) gateOf(cmd *cobra.Command, r report.Report) (report.Gate, error) {
	if !r.Designed && !cmd.Flags().Changed("fail-on") {
		o.failOn = nil
	}
	return o.gate(problemEffects())
}

// print writes a report to standard output.
func (o output) print(cmd *cobra.Command, r report.Report) error {
	switch {
	case o.quiet:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), plain.Text(reports.Summary(r)))
		return err
	case o.asJSON:
		return reports.WriteJSON(cmd.OutOrStdout(), r)
	}
	return reports.WriteTerminal(withColours(cmd.OutOrStdout()), r, o.verbose)
}
