package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/scenarios/checks"
)

func claimsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "claims CONFIG",
		Short: "List the promises of a configuration, with file:line and the numbers they predict",
		Long: `Reads a configuration and lists its promises, one sentence each, with the line that makes them, the numbers they
predict and what they assume; then the directives that lbproof draws no promise from. It needs no Docker.`,
		Example: `  lbproof claims nginx.conf
  lbproof claims builtin:nginx/weighted.conf --json`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(args[0])
			if err != nil {
				return err
			}
			claims := checks.Claims(cfg)
			if asJSON {
				return printJSON(cmd, map[string]any{"claims": claims, "unread": cfg.Unread})
			}
			return environment(printClaims(cmd.OutOrStdout(), cfg, claims))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printClaims(w io.Writer, cfg lb.Config, claims []lb.Claim) error {
	var b strings.Builder
	for _, c := range claims {
		fmt.Fprintf(&b, "%s: %s\n    %s\n", c.Pos, c.ID, c.Text)
		if len(c.Assumes) > 0 {
			fmt.Fprintf(&b, "    assuming that %s\n", strings.Join(c.Assumes, "; and "))
		}
	}
	promises := "promises"
	if len(claims) == 1 {
		promises = "promise"
	}
	fmt.Fprintf(&b, "\n%d %s of %s\n", len(claims), promises, cfg.Balancer)
	if len(cfg.Unread) > 0 {
		fmt.Fprintf(&b, "\nNo promise is drawn from:\n")
		for _, u := range cfg.Unread {
			fmt.Fprintf(&b, "%s: %s\n", u.Pos, u.Text)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
