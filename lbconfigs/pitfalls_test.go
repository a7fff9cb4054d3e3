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
)

// telling are the promises by which a pitfall shows where nothing is wrong with the configuration as such.
var telling = map[string][]string{
	"all-out-at-once":         {"passive/api#a"},
	"hash-not-consistent":     {"algorithm/sessions", "algorithm/clients"},
	"leastconn-idle":          {"algorithm/api"},
	"limit-counts-refused":    {"limits/#http_req_rate"},
	"limit-empty-key":         {"limits/a#token", "limits/c#most"},
	"limit-without-burst":     {"limits/#fast", "limits/login#slow"},
	"names-looked-up-once":    {"resolve/api.internal:8080"},
	"no-redispatch":           {"retries/"},
	"one-failed-check":        {"active/api#a"},
	"post-again":              {"retries/orders"},
	"turns-per-worker":        {"weights/api", "conns/api#a", "passive/api#a"},
	"weight-zero":             {"drained/stable#b"},
	"cookie-that-pins-nobody": {"sticky/pinned"},
}

// docs/pitfalls.md shows what claims says of each; -update writes it.
func TestPitfallsPage(t *testing.T) {
	files, err := filepath.Glob("testdata/pitfall-*.txtar")
	require.NoError(t, err)
	var b strings.Builder
	fmt.Fprintf(&b, `# Pitfalls

%d mistakes that people make with nginx, HAProxy and Traefik, and how `+"`lbproof claims`"+` shows each of them, without Docker: as something that
cannot work as it is written, or as a promise that is another one than they thought. `+"`lbproof test`"+` decides the promises on the real balancer.
`+"`go test ./lbconfigs -run Pitfalls -update`"+` writes this page.
`, len(files))
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "pitfall-"), ".txtar")
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", strings.ReplaceAll(name, "-", " "), strings.TrimSpace(string(archive.Comment)))
		said := ""
		for _, f := range archive.Files {
			if f.Name == "claims" {
				said = string(f.Data)
				continue
			}
			fmt.Fprintf(&b, "\n`%s`\n```\n%s```\n", f.Name, f.Data)
		}
		shown := paragraphs(said, telling[name])
		assert.NotEmpty(t, shown, "%s: nothing shows it: name a promise in telling", name)
		fmt.Fprintf(&b, "\nlbproof says:\n```\n%s```\n", shown)
	}
	page := filepath.Join("..", "docs", "pitfalls.md")
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String())
}

// paragraphs are those about some promises, and all that cannot work.
func paragraphs(said string, ids []string) string {
	var b strings.Builder
	keep, wrong := false, false
	for line := range strings.Lines(said) {
		switch {
		case strings.HasPrefix(line, "What cannot work"):
			wrong = true
			continue
		case strings.TrimSpace(line) == "":
			keep, wrong = false, false
		case !strings.HasPrefix(line, " "):
			_, id, _ := strings.Cut(strings.TrimSpace(line), ": ")
			keep = wrong || slices.Contains(ids, id)
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}
