package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/target"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

func claimsCommand() *cobra.Command {
	var asJSON, static bool
	var o output
	var src target.Reader
	known := append(problemEffects(), failOnRefusal)
	cmd := &cobra.Command{
		Use:     "claims FILE|DIR",
		Aliases: []string{"lint"},
		Short:   "List what a configuration promises, and what in it cannot work",
		Long: `Reads a configuration and prints what in it cannot work, with the cause and what to write instead; then its
promises, written ones and those that defaults imply, folded into one line per kind. --verbose lists each with
its line, the numbers it predicts and its assumptions, and the lines without a claim.

Does not require Docker. If Docker is available, the balancer itself is run: its own checker, and whether it
starts (--static skips that). A folder is one configuration: its main file (nginx.conf, *.cfg, traefik.yaml or
.toml) with the files that it includes.

The exit code is 1 if a part cannot work or the balancer refuses the configuration.`,
		Example: `  lbproof claims nginx.conf
  lbproof lint nginx.conf --static --fail-on rejected,dropped
  lbproof claims /etc/haproxy --verbose
  lbproof claims builtin:nginx/weighted --json --static`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			gate, err := o.gate(known)
			if err != nil {
				return err
			}
			cfg, err := src.Config(args[0])
			if err != nil {
				return err
			}
			r := reading(cfg)
			r.NotAsked = "--static"
			if !static {
				r.Checker, r.NotAsked = askBalancer(cmd, cfg)
			}
			if err := printReading(cmd, r, asJSON, o.verbose); err != nil {
				return environment(err)
			}
			if r.Fails(gate) || r.Refused() && slices.Contains(o.failOn, failOnRefusal) {
				return &exitError{code: 1}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&static, "static", false, "do not run the balancer itself")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "list each promise with its line, numbers and assumptions")
	failOnFlag(cmd, &o, "problems that make the exit code 1, or none", known)
	configFlags(cmd, &src)
	return cmd
}

func printReading(cmd *cobra.Command, r report.Reading, asJSON, verbose bool) error {
	if asJSON {
		return reports.WriteJSON(cmd.OutOrStdout(), r)
	}
	return reports.WriteReading(withColours(cmd.OutOrStdout()), r, verbose)
}

// reading returns the claims and problems of a configuration.
func reading(cfg model.Config) report.Reading {
	made := checks.Claims(cfg)
	r := report.Reading{ // with empty lists instead of none, for JSON
		Balancer: cfg.Balancer,
		Lines:    lbconfigs.CountLines(cfg, made),
		Claims:   []report.Promise{},
		Problems: append([]model.Problem{}, cfg.Problems...),
		Needs:    append([]model.Need{}, cfg.Needs...),
		Unread:   append([]model.Unread{}, cfg.Unread...),
	}
	for _, c := range made {
		p := report.Promise{Claim: c}
		if kind, err := checks.Find(c.Check); err == nil && !kind.CanJudge() {
			p.Undecided = check.NoExperiment
		}
		r.Claims = append(r.Claims, p)
	}
	return r
}
