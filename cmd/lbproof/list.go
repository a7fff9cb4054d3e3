package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/target"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

var kinds = []string{"scenarios", "configurations", "balancers", "checks", "faults", "formats"}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list [scenarios|configurations|balancers|checks|faults|formats]",
		Short: "List what lbproof knows",
		Example: `  lbproof list
  lbproof list checks`,
		Args:      usage(cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: kinds,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = kinds
			}
			for i, kind := range args {
				if len(args) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "%.*s%s\n", i, "\n", kind)
				}
				if err := list(cmd.OutOrStdout(), kind); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func list(out io.Writer, kind string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, doc string) { fmt.Fprintf(w, "  %s\t%s\n", name, doc) }
	switch kind {
	case "scenarios":
		for _, name := range scenarios.List() {
			s, err := scenarios.Read(scenarios.BuiltIn, name+".yaml")
			if err != nil {
				return err
			}
			row(name, s.Doc)
		}
	case "configurations":
		for _, name := range lbconfigs.Names() {
			cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
			if err != nil {
				return err
			}
			row(target.BuiltIn+name, fmt.Sprintf("promises: %d; parts that do not work as written: %d", len(checks.Claims(cfg)), len(cfg.Problems)))
		}
	case "balancers":
		for _, b := range lbconfigs.All {
			row(b.Name, b.Doc)
		}
	case "checks":
		for _, c := range checks.All {
			law := c.Law
			if !c.Decides() {
				law += " (" + check.NoExperiment + ")"
			}
			row(string(c.Name), c.Doc)
			row("", "law: "+law)
		}
	case "faults":
		for _, f := range faults.All {
			row(string(f.Name), f.Doc)
			for _, a := range f.Args {
				row("", fmt.Sprintf("%s: %s %s", a.Name, a.Kind, a.Said()))
			}
		}
	case "formats":
		for _, f := range reports.All {
			row(f.Name, f.Doc)
		}
	}
	return environment(w.Flush())
}

// completeTarget offers the built-in scenarios beside files.
func completeTarget(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return scenarios.List(), cobra.ShellCompDirectiveDefault
}
