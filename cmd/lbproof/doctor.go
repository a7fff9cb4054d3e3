package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this machine can run lbproof, and how each image came",
		Long: `Connects to Docker and gets every image that a run needs: a local one is used, else it is pulled, else it is built from
Debian packages. Says which way each came, and why anything is missing.`,
		Example: "  lbproof doctor",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return environment(doctor(cmd)) },
	}
}

func doctor(cmd *cobra.Command) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	docker := &stack.Docker{Binary: binary, Progress: p.Step}
	host, err := docker.Connect(cmd.Context())
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "docker\tok\t%s\n", host.Version)
	fmt.Fprintf(w, "machine\tok\t%s, %d processors, %.1f GiB\n", host.System, host.CPUs, float64(host.Memory)/(1<<30))
	missing := false
	show := func(name string, image lb.Image) {
		found, err := docker.Image(cmd.Context(), image)
		if err != nil {
			missing = true
			fmt.Fprintf(w, "image of %s\tmissing\t%v\n", name, err)
			return
		}
		fmt.Fprintf(w, "image of %s\tok\t%s, %s\n", name, found.Ref, found.Source)
	}
	show("backends and worker", lb.Image{})
	for _, b := range lbconfigs.All {
		show(b.Name, b.Spec(lb.Config{}).Image)
	}
	for _, d := range append(slices.Clone(scenarios.Dependencies), scenarios.Prometheus, scenarios.NginxExporter) {
		show(d.Name, d.Image)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missing {
		return errors.New("something is missing, see above")
	}
	return nil
}
