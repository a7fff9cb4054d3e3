package lbconfigs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/lbproof/lbproof/internal/model"
)

// revealing are the claims that reveal a pitfall in a configuration without problems.
var revealing = map[string][]string{
	"all-servers-ejected":           {"passive/api#a"},
	"hash-not-consistent":           {"algorithm/sessions", "algorithm/clients"},
	"leastconn-when-idle":           {"algorithm/api"},
	"limit-counts-refused-requests": {"limits/#http_req_rate"},
	"limit-empty-key":               {"limits/a#token", "limits/c#most"},
	"limit-without-burst":           {"limits/#fast", "limits/login#slow"},
	"names-resolved-once":           {"resolve/api.internal:8080"},
	"no-redispatch":                 {"retries/"},
	"one-failed-health-check":       {"active/api#a"},
	"post-executed-twice":           {"retries/orders"},
	"state-per-worker":              {"weights/api", "conns/api#a", "passive/api#a"},
	"weight-zero":                   {"drained/stable#b"},
	"cookie-pins-no-client":         {"sticky/pinned"},
}

// docs/pitfalls.md shows what lbproof claims prints for each; -update writes it.
func TestPitfallsPage(t *testing.T) {
	files, err := filepath.Glob("testdata/pitfall-*.txtar")
	require.NoError(t, err)
	var b strings.Builder
	fmt.Fprintf(&b, `# Pitfalls

%d common mistakes with nginx, HAProxy and Traefik, and how `+"`lbproof claims`"+` reports each, without Docker: as a
problem, or as a claim that differs from what was intended. `+"`lbproof test`"+` tests the claims on the real balancer.
This page is generated: `+"`go test ./lbconfigs -run Pitfalls -update`"+`.
`, len(files))
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "pitfall-"), ".txtar")
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", strings.ReplaceAll(name, "-", " "), strings.TrimSpace(string(archive.Comment)))
		output := ""
		for _, f := range archive.Files {
			if f.Name == "claims" {
				output = string(f.Data)
				continue
			}
			fmt.Fprintf(&b, "\n`%s`\n```\n%s```\n", f.Name, f.Data)
		}
		shown := paragraphs(output, revealing[name])
		assert.NotEmpty(t, shown, "%s: nothing reveals it: add a claim to revealing", name)
		fmt.Fprintf(&b, "\nlbproof reports:\n```\n%s```\n", shown)
	}
	page := filepath.Join("..", "docs", "pitfalls.md")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
}

// paragraphs returns the paragraphs about some claims, and all problems.
func paragraphs(output string, ids []string) string {
	var b strings.Builder
	keep := false
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, " ") {
			_, id, _ := strings.Cut(strings.TrimSpace(line), ": ")
			keep = slices.Contains(ids, id) || isProblem(line)
		}
		if keep && strings.TrimSpace(line) != "" {
			b.WriteString(line)
		}
	}
	return b.String()
}

// isProblem reports whether a line is the first one about a problem, which contains its effect.
func isProblem(line string) bool {
	effects := []model.Effect{model.Rejected, model.Dropped, model.Inert, model.Misleading}
	return slices.ContainsFunc(effects, func(e model.Effect) bool { return strings.Contains(line, string(e)+":") })
}
