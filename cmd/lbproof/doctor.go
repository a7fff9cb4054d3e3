package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/stack"
	"github.com/lbproof/lbproof/internal/stack/docker"
	"github.com/lbproof/lbproof/reports"
)

func doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check whether this machine can run lbproof",
		Long: "Checks that Docker answers and that this user may use it, and shows whether each image is present, can\n" +
			"be pulled or can be built. Takes about a second; pulls and builds nothing. A run gets the images that it\n" +
			"needs itself; lbproof pull gets them in advance. Exit code 4: no run is possible.",
		Example: "  lbproof doctor",
		Args:    usage(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return environment(doctor(cmd)) },
	}
}

// newEngine returns the runtime of all verbs; only this function chooses it. report receives its slow steps.
func newEngine(report func(string)) (*docker.Engine, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return &docker.Engine{Binary: binary, Progress: report}, nil
}

// connect connects to the engine.
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
	if err := printHost(cmd.OutOrStdout(), host); err != nil {
		return err
	}
	images := knownImages()
	found := make([]docker.Availability, len(images))
	var checking sync.WaitGroup
	for i, one := range images {
		checking.Go(func() { found[i] = engine.Availability(cmd.Context(), one.image) })
	}
	checking.Wait()
	if err := printImages(cmd.OutOrStdout(), images, found); err != nil {
		return err
	}
	return checkRunsPossible(images, found)
}

// printHost prints the engine, the machine, and the features that it lacks.
func printHost(out io.Writer, host stack.Host) error {
	memory := float64(host.Memory) / (1 << 30)
	rows := []reports.Row{
		{Name: host.Runtime, Text: fmt.Sprintf("ok: %s at %s, usable by this user", plain.Text(host.Version), plain.Text(host.Address))},
		{Name: "machine", Text: fmt.Sprintf("ok: %s, %d processors, %.1f GiB", plain.Text(host.System), host.CPUs, memory)},
	}
	for _, f := range stack.HostFeatures {
		if !slices.Contains(host.Features, f) {
			rows = append(rows, reports.Row{Text: fmt.Sprintf("lacks: %s; scenarios that need this are refused", f.MissingText())})
		}
	}
	return reports.WriteRows(out, rows)
}

// printImages prints how each image is obtained, and the command that pulls or builds a missing one.
func printImages(out io.Writer, images []namedImage, found []docker.Availability) error {
	fmt.Fprintln(out, "\nImages:")
	var rows []reports.Row
	for i, one := range images {
		origin := plain.Text(found[i].Origin)
		if state := found[i].State; state == docker.Pullable || state == docker.Buildable {
			origin += "; get it now: lbproof pull " + one.name
		}
		rows = append(rows, reports.Row{Name: one.name, Text: fmt.Sprintf("%s: %s", found[i].State, origin)})
	}
	return reports.WriteRows(out, rows)
}

// checkRunsPossible returns an error if the image of lbproof itself, or every balancer's, is unavailable.
func checkRunsPossible(images []namedImage, found []docker.Availability) error {
	available := 0 // balancers
	for i, one := range images {
		obtainable := found[i].State != docker.Unavailable
		switch {
		case one.name == ownImage && !obtainable:
			return fmt.Errorf("no run is possible: the image of lbproof itself is unavailable: %s", found[i].Origin)
		case one.balancer && obtainable:
			available++
		}
	}
	if available == 0 {
		return errors.New("no run is possible: no balancer's image is available, see above")
	}
	return nil
}
