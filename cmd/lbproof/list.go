package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/faults"
	"github.com/lbproof/lbproof/internal/target"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/reports"
	"github.com/lbproof/lbproof/scenarios"
	"github.com/lbproof/lbproof/scenarios/checks"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// lists are the topics of lbproof list; each prints rows of a name and a description.
var lists = []struct {
	kind string
	list func(row func(name, doc string)) error
}{
	{"scenarios", listScenarios},
	{"configurations", listConfigurations},
	{"balancers", listBalancers},
	{"checks", listChecks},
	{"faults", listFaults},
	{"formats", listFormats},
}

func listCommand() *cobra.Command {
	var kinds []string
	for _, l := range lists {
		kinds = append(kinds, l.kind)
	}
	return &cobra.Command{
		Use:   "list [scenarios|configurations|balancers|checks|faults|formats]",
		Short: "List scenarios, configurations, balancers, checks, faults and formats",
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
	var rows []reports.Row
	row := func(name, doc string) { rows = append(rows, reports.Row{Name: name, Text: doc}) }
	for _, l := range lists {
		if l.kind != kind {
			continue
		}
		if err := l.list(row); err != nil {
			return err
		}
	}
	return environment(reports.WriteRows(out, rows))
}

func listScenarios(row func(name, doc string)) error {
	for _, name := range scenarios.List() {
		s, err := scenarios.Read(scenarios.BuiltIn, name+".yaml")
		if err != nil {
			return err
		}
		row(name, s.Doc)
	}
	return nil
}

func listConfigurations(row func(name, doc string)) error {
	for _, name := range lbconfigs.Names() {
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, name, "")
		if err != nil {
			return err
		}
		promises, problems := len(checks.Claims(cfg)), len(cfg.Problems)
		row(target.BuiltInPrefix+name,
			fmt.Sprintf("%s, %s cannot work", units.Plural(promises, "promise"), units.Plural(problems, "part")))
	}
	return nil
}

func listBalancers(row func(name, doc string)) error {
	for _, b := range lbconfigs.All {
		row(b.Name, b.Doc)
	}
	return nil
}

func listChecks(row func(name, doc string)) error {
	for _, c := range checks.All {
		law := c.Law
		if !c.CanJudge() {
			law += " (" + check.NoExperiment + ")"
		}
		row(string(c.Name), c.Doc)
		row("", "law: "+law)
	}
	return nil
}

func listFaults(row func(name, doc string)) error {
	for _, f := range faults.All {
		row(string(f.Name), f.Doc)
		for _, a := range f.Args {
			row("", fmt.Sprintf("%s: %s %s", a.Name, a.Kind, a.Describe()))
		}
	}
	return nil
}

func listFormats(row func(name, doc string)) error {
	for _, f := range reports.All {
		row(f.Name, f.Doc)
	}
	return nil
}

// completeTarget completes the names of built-in scenarios and files.
func completeTarget(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return scenarios.List(), cobra.ShellCompDirectiveDefault
}
