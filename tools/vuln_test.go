package tools_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// make vuln only succeeds if the database answers and knows no vulnerability.
func TestVuln(t *testing.T) {
	if testing.Short() {
		t.Skip("loads every package several times")
	}
	const unreachable = "so nothing was checked"
	run := func(database string) (output string, code int) {
		command := exec.Command("make", "-s", "-C", "..", "vuln", "VULNDB="+database)
		out, _ := command.CombinedOutput() // the exit code is checked below
		return string(out), command.ProcessState.ExitCode()
	}
	output, code := run("http://127.0.0.1:1")
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "vuln: cannot reach the database http://127.0.0.1:1, "+unreachable)

	type object = map[string]any
	files := map[string]any{
		"index/db.json":      object{"modified": "2026-01-01T00:00:00Z"},
		"index/modules.json": []object{},
		"index/vulns.json":   []object{},
	}
	output, code = run(writeDatabase(t, files))
	assert.Equal(t, 0, code, output)
	assert.NotContains(t, output, unreachable)

	known := object{"id": "GO-2000-0001", "modified": "2026-01-01T00:00:00Z"}
	maps.Copy(files, map[string]any{
		"index/modules.json": []object{{"path": "github.com/spf13/cobra", "vulns": []object{known}}},
		"index/vulns.json":   []object{known},
		"ID/GO-2000-0001.json": object{
			"id": "GO-2000-0001", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "details": "every version is vulnerable",
			"affected": []object{{
				"package":            object{"name": "github.com/spf13/cobra", "ecosystem": "Go"},
				"ranges":             []object{{"type": "SEMVER", "events": []object{{"introduced": "0"}}}},
				"ecosystem_specific": object{"imports": []object{{"path": "github.com/spf13/cobra", "symbols": []string{"Command.ExecuteContext", "Command.Execute", "Command.ExecuteC", "Command.ExecuteContextC"}}}},
			}},
		},
	})
	output, code = run(writeDatabase(t, files))
	assert.Equal(t, 2, code, output)
	assert.Contains(t, output, "GO-2000-0001")
	assert.NotContains(t, output, unreachable)
}

// writeDatabase writes a vulnerability database (go.dev/doc/security/vuln/database) and returns its URL.
func writeDatabase(t *testing.T, files map[string]any) string {
	dir := t.TempDir()
	for name, content := range files {
		text, err := json.Marshal(content)
		require.NoError(t, err)
		at := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
		require.NoError(t, os.WriteFile(at, text, 0o644))
	}
	return "file://" + dir
}
