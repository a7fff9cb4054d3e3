package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// namedImage is an image that runs may need, by the name of what it is for.
type namedImage struct {
	name  string
	image plan.Image
}

// knownImages are the images that lbproof's own runs need.
func knownImages() []namedImage {
	all := []namedImage{{name: "backends and worker"}}
	for _, b := range lbconfigs.All {
		all = append(all, namedImage{b.Name, b.Spec(model.Config{}).Image})
	}
	for _, d := range slices.Concat(scenarios.Dependencies, []plan.Spec{scenarios.Prometheus}, scenarios.Exporters) {
		all = append(all, namedImage{d.Name, d.Image})
	}
	return all
}

func pullCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "pull",
		Short: "Get the newest image of every balancer and service",
		Long: "Gets the newest of every image that a run needs: from its registry where that answers; " +
			"else an image that was built from\n" +
			"Debian packages is built again where Debian has newer ones. " +
			"A run itself takes the images that are there, whatever their age, and records\n" +
			"the digest of each.",
		Example: "  lbproof pull",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return environment(pull(cmd)) },
	}
}

func pull(cmd *cobra.Command) error {
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, _, err := connect(cmd, p)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	var failed error
	for _, one := range knownImages() {
		found, news, err := engine.Update(cmd.Context(), one.image)
		if err != nil {
			failed = fmt.Errorf("the image of %s is not renewed: %w", one.name, err)
			fmt.Fprintf(w, "%s\tfailed\t%s\n", one.name, plain.Lines(err.Error()))
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s, %s\n", one.name, news, plain.Text(found.Ref), plain.Text(found.Source))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return failed
}
