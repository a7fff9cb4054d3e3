package main

import (
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
	var src target.Reader
	cmd := &cobra.Command{
		Use:   "claims FILE|DIR",
		Short: "List the promises of a configuration, with file:line and the numbers they predict",
		Long: "Reads a configuration and lists its promises, one sentence each, " +
			"with the line that makes them, the numbers they\n" +
			"predict and what they assume; those that it makes by default; what in it cannot work, " +
			"with the cause and what to\n" +
			"write instead; and the lines that promise nothing, with the reason. That takes no Docker. " +
			"Where Docker is there, the\n" +
			"balancer itself is then asked whether it takes the configuration and starts with it; " +
			"--static leaves that out.\n" +
			"\n" +
			"A folder is one configuration: its main file (nginx.conf, *.cfg, " +
			"traefik.yaml or .toml) with all that belongs to it.",
		Example: `  lbproof claims nginx.conf
  lbproof claims /etc/haproxy
  lbproof claims builtin:nginx/weighted --json --static`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := src.Config(args[0])
			if err != nil {
				return err
			}
			return environment(claims(cmd, cfg, asJSON, static))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&static, "static", false, "do not ask the balancer itself")
	configFlags(cmd, &src)
	return cmd
}

// claims prints the promises of a configuration, and what the balancer itself says of it unless static is set.
func claims(cmd *cobra.Command, cfg model.Config, asJSON, static bool) error {
	r := reading(cfg)
	ask := func() {
		r.NotAsked = "--static was given"
		if !static {
			r.Checker, r.NotAsked = askBalancer(cmd, cfg)
		}
	}
	if asJSON {
		ask()
		return reports.WriteJSON(cmd.OutOrStdout(), r)
	}
	if err := reports.WriteReading(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	ask()
	return reports.WriteAnswer(cmd.OutOrStdout(), r)
}

// reading is what the configuration alone says.
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
