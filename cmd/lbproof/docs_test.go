package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/history"
)

var updateDocs = flag.Bool("update-docs", false, "update the output of lbproof in README.md and docs/")

// pages returns README.md and the pages in docs/.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	require.NoError(t, err)
	return append(all, filepath.Join("..", "..", "README.md"))
}

// consoleExample matches a command in a console block, with its output up to the end of the block.
var consoleExample = regexp.MustCompile("(?m)^\\$ bin/lbproof (.*)\n((?:[^$`\n].*\n|\n)+)(```)")

// Commands print what README.md and docs/ show. Numbers and times that a run measures are masked; a line "…" stands for
// omitted lines.
func TestDocsShowWhatCommandsPrint(t *testing.T) {
	found := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, block := range consoleExample.FindAllStringSubmatch(string(text), -1) {
			found++
			args, want := strings.Fields(block[1]), block[2]
			t.Run(filepath.Base(page)+"/"+strings.Join(args, " "), func(t *testing.T) {
				got := commandOutput(t, args)
				if args[0] == "test" {
					got, want = mask(got), mask(want)
				}
				if *updateDocs && !matches(got, want) {
					updated := "$ bin/lbproof " + block[1] + "\n" + commandOutput(t, args) + "```"
					replaced := strings.Replace(string(text), block[0], updated, 1)
					require.NoError(t, os.WriteFile(page, []byte(replaced), 0o644))
					return
				}
				if !matches(got, want) {
					assert.Equal(t, want, got)
				}
			})
		}
	}
	assert.GreaterOrEqual(t, found, 2, "the pages have no examples")
}

// commandOutput returns the standard output of a command.
func commandOutput(t *testing.T, args []string) string {
	t.Helper()
	if args[0] != "test" || slices.Contains(args, "--dry-run") {
		_, stdout, _ := runMain(args...)
		return stdout
	}
	if testing.Short() {
		t.Skip("needs Docker")
	}
	t.Parallel()
	p := start(t, t.TempDir(), args...)
	require.Contains(t, []int{0, 1, 3}, p.wait(t), p.stderr.String())
	return p.stdout.String()
}

var (
	number  = regexp.MustCompile(`[0-9][0-9.,:]*`)
	spaces  = regexp.MustCompile(`[ ─]+`)
	runPath = regexp.MustCompile(`lbproof-runs/\S+`)
)

// mask replaces what differs between runs: numbers, the run folder, and the widths of columns.
func mask(text string) string {
	text = runPath.ReplaceAllString(text, "lbproof-runs/…")
	return spaces.ReplaceAllString(number.ReplaceAllString(text, "N"), " ")
}

// matches reports whether a text has the wanted lines. A wanted line "…" matches any lines.
func matches(got, want string) bool {
	lines := strings.Split(strings.TrimSpace(got), "\n")
	gap := false
	for line := range strings.SplitSeq(strings.TrimSpace(want), "\n") {
		if line == "…" {
			gap = true
			continue
		}
		i := slices.Index(lines, line)
		if i < 0 || i > 0 && !gap {
			return false
		}
		lines, gap = lines[i+1:], false
	}
	return gap || len(lines) == 0
}

func TestMatches(t *testing.T) {
	assert.True(t, matches("a\nb\nc\n", "a\nb\nc"))
	assert.True(t, matches("a\nb\nc\n", "a\n…\nc\n"))
	assert.True(t, matches("a\nb\nc\n", "…\nb\n…"))
	assert.False(t, matches("a\nb\nc\n", "a\nc\n"))
	assert.False(t, matches("a\nb\nc\n", "a\nb\n"))
	assert.False(t, matches("a\nb\n", "a\n…\nc\n"))
}

// docs/commands.md has the help of every verb.
func TestDocsHaveTheHelpOfEveryVerb(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Commands\n\nThe help of every verb, as `lbproof VERB --help` prints it.\n")
	help := func(args ...string) {
		_, stdout, _ := runMain(append(args, "--help")...)
		b.WriteString("\n## " + strings.Join(append([]string{"lbproof"}, args...), " ") + "\n\n```\n" + stdout + "```\n")
	}
	help()
	for _, cmd := range newRoot().Commands() {
		if isVerb(cmd) {
			help(cmd.Name())
		}
	}
	page := filepath.Join("..", "..", "docs", "commands.md")
	if *updateDocs {
		require.NoError(t, os.WriteFile(page, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "go test ./cmd/lbproof -run %s -update-docs rewrites it", t.Name())
}

func isVerb(cmd *cobra.Command) bool {
	return !cmd.Hidden && !slices.Contains([]string{"help", "completion"}, cmd.Name())
}

// The target of every link in a page exists.
func TestLinksAreValid(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	more, err := filepath.Glob(filepath.Join("..", "..", "*.md"))
	require.NoError(t, err)
	for _, page := range append(pages(t), more...) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, target := range link.FindAllStringSubmatch(string(text), -1) {
			_, err := os.Stat(filepath.Join(filepath.Dir(page), target[1]))
			assert.NoError(t, err, page)
		}
	}
}

// Commands end with the exit codes in the README's table.
func TestExitCodes(t *testing.T) {
	f := func(want int, args ...string) {
		t.Helper()
		code, _, stderr := runMain(args...)
		assert.Equal(t, want, code, "%v: %s", args, stderr)
	}
	honest := func(*history.Environment) {}
	f(0, "judge", recordedOf(t, fixtures.Mutant{}, honest))
	f(1, "judge", recordedOf(t, fixtures.Mutants[0], honest))
	incomplete := func(env *history.Environment) { env.LedgerGaps = []string{"back-01: lost"} }
	f(3, "judge", recordedOf(t, fixtures.Mutant{}, incomplete))
	interrupted := func(env *history.Environment) { env.Interrupted = "interrupted" }
	f(4, "judge", recordedOf(t, fixtures.Mutant{}, interrupted))
	f(0, "lint", "--static", "builtin:nginx/weighted")
	f(1, "lint", "--static", "builtin:nginx/order-api")
	f(0, "lint", "--static", "builtin:nginx/order-api", "--fail-on", "none")
	f(2, "lint", "missing.conf")
	f(2, "tets")
	t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
	f(4, "test", "baseline")
}
