package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/internal/stack/docker"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

// namedImage is an image that runs may need, with the name of its program.
type namedImage struct {
	name     string
	image    plan.Image
	balancer bool
}

// ownImage is the name of the image that holds lbproof itself: backends, workers and agents.
const ownImage = "lbproof"

// knownImages returns the images of lbproof itself, of every balancer and of every service.
func knownImages() []namedImage {
	all := []namedImage{{name: ownImage}}
	for _, b := range lbconfigs.All {
		all = append(all, namedImage{b.Name, b.Spec(model.Config{}).Image, true})
	}
	for _, d := range slices.Concat(scenarios.Dependencies, []plan.Spec{scenarios.Prometheus}, scenarios.Exporters) {
		all = append(all, namedImage{plan.ShortName(d.Name), d.Image, false})
	}
	return all
}

// imageNames returns the names that lbproof pull takes.
func imageNames() (names []string) {
	for _, one := range knownImages() {
		names = append(names, one.name)
	}
	return names
}

func pullCommand() *cobra.Command {
	var missing bool
	cmd := &cobra.Command{
		Use:   "pull [NAME...]",
		Short: "Pull or build the newest images (default: those of all balancers)",
		Long: "Pulls each image from its registry. If that fails, builds it from Debian packages or from its Go module,\n" +
			"unless the image on this machine is up to date. A run uses the images that are on this machine, whatever their\n" +
			"age, and records the digest of each.\n\nNames: " + strings.Join(imageNames(), ", "),
		Example: `  lbproof pull
  lbproof pull nginx redis
  lbproof pull --missing`,
		Args:      usage(cobra.OnlyValidArgs),
		ValidArgs: imageNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return environment(pull(cmd, selectImages(args), missing))
		},
	}
	cmd.Flags().BoolVar(&missing, "missing", false, "only get images that are not on this machine")
	return cmd
}

// selectImages returns the named images (default: those of all balancers).
func selectImages(names []string) []namedImage {
	return slices.DeleteFunc(knownImages(), func(one namedImage) bool {
		if len(names) == 0 {
			return !one.balancer
		}
		return !slices.Contains(names, one.name)
	})
}

// pull gets the newest version of each image; with missing, it keeps images that are on this machine.
func pull(cmd *cobra.Command, wanted []namedImage, missing bool) error {
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, _, err := connect(cmd, p)
	if err != nil {
		return err
	}
	var failed []error
	for _, one := range wanted {
		found, news, err := getImage(cmd.Context(), engine, one.image, missing)
		if cmd.Context().Err() != nil {
			return errInterrupted
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", one.name, err))
			continue
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s: %s, %s\n", one.name, news, plain.Text(found.Ref), plain.Text(found.Source))
	}
	return errors.Join(failed...)
}

// getImage updates an image, or with missing only makes sure that it is on this machine. news says what it did.
func getImage(
	ctx context.Context, engine *docker.Engine, image plan.Image, missing bool,
) (found stack.Image, news string, err error) {
	if !missing {
		return engine.Update(ctx, image)
	}
	found, err = engine.Image(ctx, image)
	return found, "available", err
}
