package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"
)

// commit and its date, for builds without VCS data: make build sets them with -ldflags -X. The suffix -dirty of commit
// marks local changes.
var commit, date string

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version, commit, date and Go version of this lbproof",
		Example: "  lbproof version",
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "lbproof", versionText())
			return environment(err)
		},
	}
}

// versionText describes this build, e.g. "v0.3.1 (commit 521550d6, 2026-11-29, go1.26.0)".
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describeBuild(info, commit, date)
}

// describeBuild formats what the Go toolchain recorded; fallbackCommit and fallbackDate replace missing VCS data.
func describeBuild(info *debug.BuildInfo, fallbackCommit, fallbackDate string) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	var details []string
	if hash, dirty := strings.CutSuffix(cmp.Or(settings["vcs.revision"], fallbackCommit), "-dirty"); hash != "" {
		text := "commit " + hash[:min(8, len(hash))]
		if dirty || settings["vcs.modified"] == "true" {
			text += " with local changes"
		}
		details = append(details, text)
	}
	if day := cmp.Or(settings["vcs.time"], fallbackDate); day != "" {
		details = append(details, day[:min(len("2006-01-02"), len(day))])
	}
	if info.GoVersion != "" {
		details = append(details, info.GoVersion)
	}
	return fmt.Sprintf("%s (%s)", releaseOf(info.Main.Version), strings.Join(details, ", "))
}

// releaseOf removes a pseudo-version's time and commit from a module version (default: v0.0.0).
func releaseOf(version string) string {
	version, _, _ = strings.Cut(version, "+")
	if module.IsPseudoVersion(version) {
		version, _ = module.PseudoVersionBase(version)
	}
	if version == "(devel)" {
		version = ""
	}
	return cmp.Or(version, "v0.0.0")
}
