package main

import (
	"errors"
	"fmt"
	"io/fs"
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
		Short: "Remove containers and networks of stale runs, and old run folders",
		Long: "Lists the containers and networks of runs that are over; removes them with --yes. Usually there are\n" +
			"none: a run removes its own, and its reaper does so if lbproof was killed. If both were killed, the next\n" +
			"run removes them too. With --runs, also lists or removes old run folders.",
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
	cmd.Flags().Var(&older, "runs", "also remove run folders older than this (e.g. 30d, 12h)")
	cmd.Flags().StringVar(&out, "out", "lbproof-runs", "directory of the run folders")
	return cmd
}

// age is a flag for a duration, also in days.
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
	stale, err := engine.StaleRuns(cmd.Context())
	if err != nil {
		return err
	}
	var failed []error
	for _, r := range stale {
		if !yes {
			fmt.Fprintln(cmd.OutOrStdout(), "would remove", r)
			continue
		}
		if err := engine.RemoveStaleRun(cmd.Context(), r); err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintln(cmd.OutOrStdout(), "removed", r)
	}
	switch {
	case len(stale) == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "no stale runs in Docker")
	case !yes:
		fmt.Fprintln(cmd.OutOrStdout(), "nothing was removed; to remove it, add --yes")
	}
	return errors.Join(failed...)
}

// cleanFolders lists or removes run folders older than an age; 0: none.
func cleanFolders(cmd *cobra.Command, out string, older time.Duration, yes bool) error {
	if older == 0 {
		return nil
	}
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("out") {
		return nil // no run was made here
	}
	if err != nil {
		return fmt.Errorf("list run folders: %w; set --out to their directory", err)
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
