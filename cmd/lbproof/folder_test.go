package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/fixtures"
	"github.com/lbproof/lbproof/internal/folder"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/run"
)

// recorded returns the folder of a simulated run of a correct balancer, recorded by a version of lbproof.
func recorded(t *testing.T, version string) string {
	t.Helper()
	return recordedOf(t, fixtures.Mutant{}, func(env *history.Environment) { env.Lbproof = version })
}

// recordedOf returns the folder of a simulated run.
func recordedOf(t *testing.T, m fixtures.Mutant, change func(*history.Environment)) string {
	t.Helper()
	plan, err := fixtures.Plan("baseline")
	require.NoError(t, err)
	h := fixtures.Simulate(plan, m, 1)
	change(&h.Env)
	dir := filepath.Join(t.TempDir(), "run")
	f, err := folder.Create(dir, plan)
	require.NoError(t, err)
	for hit := range h.Hits {
		require.NoError(t, f.Hit(hit))
	}
	for a := range h.Arrivals {
		require.NoError(t, f.Arrival(a))
	}
	require.NoError(t, f.Finish(h.Env))
	return dir
}

func runMain(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = Main(args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// For a damaged folder, every verb that reads it prints one error, exits with code 4 and writes no report.
func TestDamagedFolderIsExitCode4(t *testing.T) {
	for _, file := range []string{"hits.parquet", "arrivals.parquet", "plan.json", "environment.json", "manifest.json"} {
		dir := recorded(t, run.Version())
		require.NoError(t, os.Remove(filepath.Join(dir, file)))
		for _, args := range [][]string{{"judge", dir}, {"report", dir}, {"report", dir, "--format", "hdr"}, {"report", dir, "--format", "vegeta"}} {
			code, stdout, stderr := runMain(args...)
			assert.Equal(t, exitEnvironment, code, "%v", args)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, file)
			assert.Equal(t, 1, strings.Count(stderr, "\n"), stderr)
		}
		assert.NoFileExists(t, filepath.Join(dir, "report.json"))
	}
	code, _, stderr := runMain("judge", t.TempDir())
	assert.Equal(t, exitUsage, code, "a wrong folder is the user's mistake")
	assert.Contains(t, stderr, "not a run folder")
}

// A report names both versions if one recorded the run and another judged it. Writing reports does not damage the run.
func TestReportsNameTheVersions(t *testing.T) {
	dir := recorded(t, "v0.0.9")
	for range 2 {
		code, stdout, stderr := runMain("judge", dir)
		require.Zero(t, code, stderr)
		assert.Contains(t, stdout, "recorded by lbproof v0.0.9, judged by lbproof "+run.Version()+"\n")
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"lbproof": "v0.0.9"`)
	assert.Contains(t, string(text), `"judged_by": "`+run.Version()+`"`)
}

// The error for a report that cannot be written has the command that prints it.
func TestUnwritableReport(t *testing.T) {
	dir := recorded(t, run.Version())
	require.NoError(t, os.Mkdir(filepath.Join(dir, "report.json"), 0o755))
	code, _, stderr := runMain("judge", dir)
	assert.Equal(t, exitEnvironment, code)
	assert.Contains(t, stderr, "lbproof report "+dir+" --format json prints it instead")
	left, err := filepath.Glob(filepath.Join(dir, "*.part"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// A plan with an edited configuration and the old digest is refused: its run could not be judged.
func TestPlanWithWrongDigest(t *testing.T) {
	code, text, stderr := runMain("plan", "baseline")
	require.Zero(t, code, stderr)
	name := filepath.Join(t.TempDir(), "plan.json")
	require.NoError(t, os.WriteFile(name, []byte(strings.Replace(text, "weight=2", "weight=9", 1)), 0o644))
	code, _, stderr = runMain("run", name)
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "plan.json: configuration file nginx/weighted/upstream.conf: the content has the SHA-256")
}
