//go:build verdicts

package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/report"
)

// lawExamples are the last parts of names of configurations that show one law each; see docs/laws.md.
var lawExamples = []string{
	"algorithms", "limits", "hash", "impatient", "backup", "queue", "sticky", "tls", "websocket", "many-connections",
	"metrics", "mirror",
}

// forEachConfig runs a subtest for every built-in configuration that its balancer accepts, unchanged or corrected.
func forEachConfig(t *testing.T, do func(t *testing.T, name string, want expectation)) {
	for _, name := range slices.Sorted(maps.Keys(builtinExpectations)) {
		want := builtinExpectations[name]
		if slices.Contains(lawExamples, filepath.Base(name)) || want.refused && want.corrected == nil {
			continue
		}
		t.Run(strings.ReplaceAll(name, "/", "-"), func(t *testing.T) { do(t, name, want) })
	}
}

// TestMutations writes docs/mutations: a page per configuration, and their index (make mutations). Progress is stored in
// lbproof-mutations; a second call resumes.
func TestMutations(t *testing.T) {
	defer writeIndex(t, "mutations", "# Mutations\n\n`make mutations` writes these pages: the lines of the built-in configurations that no experiment tests.\n\n"+
		"| configuration | lines tested | lines with claims | per cent | mutations | duration of the runs |\n|---|---|---|---|---|---|\n", coverage)
	forEachConfig(t, func(t *testing.T, name string, want expectation) {
		page := strings.ReplaceAll(name, "/", "-")
		out, err := filepath.Abs(filepath.Join("..", "..", "lbproof-mutations", page))
		require.NoError(t, err)
		p := start(t, writeConfig(t, name, want.corrected), append([]string{"mutate", "config", "--out", out}, want.headerFlag()...)...)
		require.Contains(t, []int{0, 1}, p.wait(t), p.stderr.String())
		text := fmt.Sprintf("# %s\n\n`make mutations` wrote this page: the output of `lbproof mutate%s` for the configuration on the real balancer.\n\n```\n%s```\n", name, want.headerText(), p.stdout.String())
		require.NoError(t, os.WriteFile(filepath.Join("..", "..", "docs", "mutations", page+".md"), []byte(text), 0o644))
	})
}

// summary matches the summary line of a page of docs/verdicts.
var summary = regexp.MustCompile(`(?m)^(.*ersion.*); ([0-9]+) requests, ([0-9]+) s; ([0-9]+) upheld, ([0-9]+) refuted, ([0-9]+) undecided, ([0-9]+) untestable\.$`)

// coverage matches the summary line of lbproof mutate.
var coverage = regexp.MustCompile(`(?s)\n([0-9]+) of ([0-9]+) lines with claims are tested \(([0-9]+) %\): ([^(]*) \(runs\s+took\s+([^)]*)\)`)

// writeIndex writes the index of a folder of pages.
func writeIndex(t *testing.T, folder, head string, line *regexp.Regexp) {
	dir := filepath.Join("..", "..", "docs", folder)
	pages, err := filepath.Glob(filepath.Join(dir, "*-*.md"))
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString(head)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		name := filepath.Base(page)
		found := line.FindStringSubmatch(string(text))
		require.NotNil(t, found, name)
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", strings.Replace(strings.TrimSuffix(name, ".md"), "-", "/", 1), name, strings.Join(found[1:], " | "))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte(b.String()), 0o644))
}

// TestVerdicts writes docs/verdicts: a page per configuration, and their index (make verdicts).
func TestVerdicts(t *testing.T) {
	defer writeIndex(t, "verdicts", "# Verdicts\n\n`make verdicts` writes these pages: the verdicts of `lbproof test` on the built-in configurations.\n\n"+
		"| configuration | balancer | requests | seconds, start and stop included | upheld | refuted | undecided | untestable |\n|---|---|---|---|---|---|---|---|\n", summary)
	forEachConfig(t, func(t *testing.T, name string, want expectation) {
		began := time.Now()
		r := testConfig(t, name, want, want.headerFlag()...)
		var b strings.Builder
		verdictsOf(&b, name, want, r, time.Since(began))
		if want.scenario != "" {
			fmt.Fprintf(&b, "## Under the scenario %s\n\n", want.scenario)
			table(&b, testConfig(t, name, want, "--scenario", want.scenario).Verdicts)
		}
		require.NoError(t, os.WriteFile(filepath.Join("..", "..", "docs", "verdicts", strings.ReplaceAll(name, "/", "-")+".md"), []byte(b.String()), 0o644))
	})
}

// testConfig runs lbproof test on a configuration and returns the report. It keeps the run folder as evidence for the
// page.
func testConfig(t *testing.T, name string, want expectation, args ...string) report.Report {
	t.Helper()
	p := start(t, writeConfig(t, name, want.corrected), append([]string{"test", "config"}, args...)...)
	code := p.wait(t)
	require.Contains(t, []int{0, 1, 3}, code, p.stderr.String())
	folder, r := reportOf(t, p.cmd.Dir)
	kept := strings.ReplaceAll(name, "/", "-") + strings.TrimPrefix(filepath.Base(folder), "config")
	require.NoError(t, os.CopyFS(filepath.Join("..", "..", "lbproof-runs", kept), os.DirFS(folder)))
	return r
}

// headerFlag returns the flag for the required header, if any.
func (e expectation) headerFlag() []string {
	if e.header == "" {
		return nil
	}
	return []string{"--header", e.header}
}

// headerText returns the flag as typed in a shell.
func (e expectation) headerText() string {
	if e.header == "" {
		return ""
	}
	return fmt.Sprintf(" --header '%s'", e.header)
}

func verdictsOf(b *strings.Builder, name string, want expectation, r report.Report, took time.Duration) {
	requests, count := 0, map[report.Outcome]int{}
	for _, p := range r.Phases {
		requests += p.Hits
	}
	for _, v := range r.Verdicts {
		count[v.Outcome]++
	}
	fmt.Fprintf(b, "# %s\n\n`make verdicts` wrote this page: the verdicts of `lbproof test%s` on the configuration, with the real balancer", name, want.headerText())
	if want.corrected != nil {
		b.WriteString(", which refuses\nthe original and accepts it corrected as `lbproof claims` advises")
	}
	b.WriteString(".\n\n")
	fmt.Fprintf(b, "%s; %d requests, %.0f s; %d upheld, %d refuted, %d undecided, %d untestable.\n\n", r.Env.Balancer, requests, took.Seconds(),
		count[report.Upheld], count[report.Refuted], count[report.Undecided], count[report.Untestable])
	table(b, r.Verdicts)
	explained := map[string]bool{}
	for _, v := range r.Verdicts {
		if text := v.Why + " " + v.Instead; v.Outcome == report.Refuted && !explained[text] {
			explained[text] = true
			fmt.Fprintf(b, "`%s`: %s Instead: %s\n\n", v.Claim.ID, v.Why, v.Instead)
		}
	}
}

// table writes the verdicts that a run evaluated.
func table(b *strings.Builder, verdicts []report.Verdict) {
	b.WriteString("| verdict | promise | line | measured, or why not |\n|---|---|---|---|\n")
	cell := strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;", "$", "\\$")
	for _, v := range verdicts {
		if v.NotEvaluated {
			continue
		}
		measured := v.Measured
		if v.Outcome != report.Upheld {
			measured = v.Reason
		}
		at := v.Claim.Pos
		at.File = filepath.Base(at.File)
		fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", v.Outcome, v.Claim.ID, at, cell.Replace(measured))
	}
	b.WriteString("\n")
}
