package main

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/internal/stack/docker"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say whether this machine can run lbproof, and how each image came",
		Long: "Connects to Docker and gets every image that a run needs: a local one is used, " +
			"else it is pulled, else it is built from\n" +
			"Debian packages. Says which way each came, and why anything is missing.",
		Example: "  lbproof doctor",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return environment(doctor(cmd)) },
	}
}

// newEngine is the runtime of every verb: the one place that chooses it. tell is told what takes long.
func newEngine(tell func(string)) (*docker.Engine, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &docker.Engine{Binary: binary, Progress: tell}, nil
}

// connect finds the engine.
func connect(cmd *cobra.Command, p *progress) (*docker.Engine, stack.Host, error) {
	engine, err := newEngine(p.Step)
	if err != nil {
		return nil, stack.Host{}, err
	}
	host, err := engine.Host(cmd.Context())
	return engine, host, err
}

func doctor(cmd *cobra.Command) error {
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, host, err := connect(cmd, p)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "docker\tok\t%s\n", plain.Text(host.Version))
	memory := float64(host.Memory) / (1 << 30)
	fmt.Fprintf(w, "machine\tok\t%s, %d processors, %.1f GiB\n", plain.Text(host.System), host.CPUs, memory)
	missing := false
	for _, one := range knownImages() {
		found, err := engine.Image(cmd.Context(), one.image)
		if err != nil {
			missing = true
			fmt.Fprintf(w, "image of %s\tmissing\t%s\n", one.name, plain.Lines(err.Error()))
			continue
		}
		fmt.Fprintf(w, "image of %s\tok\t%s, %s\n", one.name, plain.Text(found.Ref), plain.Text(found.Source))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missing {
		return errors.New("something is missing, see above")
	}
	return nil
}
