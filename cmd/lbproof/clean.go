package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/run"
)

func cleanCommand() *cobra.Command {
	var yes bool
	var older age
	var out string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what dead runs have left in Docker, and old run folders",
		Long: "Lists the containers and networks of runs that nobody carries out any more, " +
			"and removes them with --yes. A run cleans up after itself,\n" +
			"and its reaper does where lbproof was killed; what remains all the same (the machine went " +
			"down, both were killed at once) also goes when the next\n" +
			"run begins. With --runs, run folders that are older go too.",
		Example: `  lbproof clean
  lbproof clean --yes
  lbproof clean --runs 30d --yes`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cleanFolders(cmd, out, time.Duration(older), yes); err != nil {
				return err
			}
			return environment(cleanDocker(cmd, yes))
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "remove what is listed")
	cmd.Flags().Var(&older, "runs", "run folders older than this go too (e.g. 30d, 12h)")
	cmd.Flags().StringVar(&out, "out", "lbproof-runs", "folder in which run folders are looked for")
	return cmd
}

// age is a duration that may be given in days.
type age time.Duration

func (a *age) String() string {
	if *a == 0 {
		return ""
	}
	return time.Duration(*a).String()
}

func (a *age) Type() string { return "age" }

func (a *age) Set(text string) error {
	const day = 24 * time.Hour
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(n * float64(day))
	}
	if err != nil || d <= 0 {
		return errors.New("not an age with a unit, e.g. 30d or 12h")
	}
	*a = age(d)
	return nil
}

func cleanDocker(cmd *cobra.Command, yes bool) error {
	p := newProgress(cmd.ErrOrStderr())
	defer p.end()
	engine, _, err := connect(cmd, p)
	if err != nil {
		return err
	}
	dead, err := engine.StaleRuns(cmd.Context())
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range dead {
		if !yes {
			fmt.Fprintln(cmd.OutOrStdout(), "would remove what is left of", r)
			continue
		}
		if err := engine.RemoveStaleRun(cmd.Context(), r); err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintln(cmd.OutOrStdout(), "removed what was left of", r)
	}
	switch {
	case len(dead) == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "Docker has nothing of dead runs")
	case !yes:
		fmt.Fprintln(cmd.OutOrStdout(), "nothing was removed: --yes removes it")
	}
	return errors.Join(failed...)
}

// cleanFolders removes run folders by age; zero removes none.
func cleanFolders(cmd *cobra.Command, out string, older time.Duration, yes bool) error {
	if older == 0 {
		return nil
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return fmt.Errorf("look for run folders: %w; --out names the folder that has them", err)
	}
	for _, e := range entries {
		dir := filepath.Join(out, e.Name())
		at, ok := run.ParseFolderTime(dir)
		if !ok || time.Since(at) < older {
			continue
		}
		if !yes {
			fmt.Fprintln(cmd.OutOrStdout(), "would remove", plain.Text(dir))
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return environment(fmt.Errorf("remove the run folder %s: %w", dir, err))
		}
		fmt.Fprintln(cmd.OutOrStdout(), "removed", plain.Text(dir))
	}
	return nil
}
