package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"
)

// mistake is a command that cannot work. In scenario.yaml, old is replaced by new first.
type mistake struct {
	about    string
	command  string
	old, new string
}

// mistakes are common mistakes, by section of docs/mistakes.md. They need no Docker.
var mistakes = []struct {
	title string
	all   []mistake
}{
	{"Commands and flags", []mistake{
		{about: "Misspelled command", command: "tets nginx/nginx.conf"},
		{about: "Command of another tool", command: "validate nginx/nginx.conf"},
		{about: "No argument", command: "test"},
		{about: "Too many arguments", command: "test nginx/nginx.conf scenario.yaml"},
		{about: "Misspelled topic", command: "list senarios"},
		{about: "Misspelled image", command: "pull ngnix"},
		{about: "Misspelled flag", command: "test nginx/nginx.conf --scenaro spike"},
		{about: "Flag without a value", command: "test nginx/nginx.conf --scenario"},
		{about: "Duration without a unit", command: "test soak --for 10"},
		{about: "Number in words", command: "test nginx/nginx.conf --balancers two"},
		{about: "No balancer", command: "test nginx/nginx.conf --balancers 0"},
		{about: "Age without a unit", command: "clean --runs 30"},
		{about: "Header without a value", command: "test nginx/nginx.conf --header X-Key"},
		{about: "Misspelled check", command: "test nginx/nginx.conf --checks tsl"},
		{about: "Misspelled balancer", command: "claims notes.txt --balancer ngnix"},
		{about: "Misspelled format", command: "report lbproof-runs/shop --format jnuit"},
		{about: "Flag for configurations with a scenario", command: "test baseline --checks tls"},
		{about: "Duration without a scenario", command: "test nginx/nginx.conf --for 10m"},
		{about: "Duration of a scenario without timed phases", command: "test baseline --for 10m"},
	}},
	{"Files", []mistake{
		{about: "Misspelled scenario", command: "test baslin"},
		{about: "Misspelled scenario in a flag", command: "test nginx/nginx.conf --scenario spik"},
		{about: "Misspelled file", command: "test nginx/nginx.cnf"},
		{about: "Misspelled folder", command: "claims ngnix/nginx.conf"},
		{about: "File that does not exist", command: "claims haproxy.cfg"},
		{about: "Misspelled built-in configuration", command: "claims builtin:nginx/wieghted"},
		{about: "Built-in configuration without its prefix", command: "claims nginx/weighted"},
		{about: "Scenario instead of a configuration", command: "claims baseline"},
		{about: "Configuration instead of a run", command: "judge nginx/nginx.conf"},
		{about: "Run that does not exist", command: "report lbproof-runs/shop"},
		{about: "Running balancer", command: "test http://localhost:8080"},
		{about: "Host and port", command: "claims localhost:8080"},
		{about: "Standard input", command: "claims -"},
		{about: "Compose file", command: "test docker-compose.yml"},
		{about: "Compose file with a balancer", command: "claims docker-compose.yml --balancer nginx"},
		{about: "Kubernetes Ingress", command: "claims k8s/ingress.yaml"},
		{about: "Kubernetes ConfigMap", command: "test k8s/configmap.yaml"},
		{about: "Unrendered template", command: "claims templates/api.conf.template"},
		{about: "Folder without a main file", command: "claims ."},
		{about: "Text that is no configuration", command: "claims notes.txt"},
		{about: "Device", command: "claims /dev/null"},
		{about: "Include of a file that is not in the folder", command: "claims snippet.conf"},
		{about: "Include from outside the folder", command: "claims outside/nginx.conf"},
		{about: "Missing brace", command: "claims half.conf"},
		{about: "Rate without a unit", command: "claims rate.conf"},
		{about: "Plan of an older lbproof", command: "run plan.json"},
	}},
	{"Scenarios", []mistake{
		{about: "Misspelled field", old: "rate: 10", new: "rat: 10"},
		{about: "Missing field", old: "    send: [{path: /}]\n", new: ""},
		{about: "Duration without a unit", old: "for: 10s", new: "for: 10"},
		{about: "Size with another unit", old: "64MiB", new: "64M"},
		{about: "Path without a slash", old: "path: /", new: "path: models"},
		{about: "Name with spaces", old: "name: checkout", new: "name: My checkout"},
		{about: "Misspelled shape of a rate", old: "rate: 10", new: "rate: {rmap: {from: 1, to: 10}}"},
		{about: "Closed loop with a duration", old: "rate: 10", new: "concurrency: 10"},
		{about: "Misspelled protocol", old: "rate: 10", new: "rate: 10\n    protocol: http2"},
		{about: "Wrong indentation", old: "doc: peak", new: "  doc: peak"},
		{about: "Limit without a unit", old: "p99 < 250ms", new: "p99 < 250"},
		{about: "Assignment instead of a comparison", old: "p99 < 250ms", new: "errors = 0"},
		{about: "Misspelled backend in expect", old: "[p99 < 250ms]", new: `["errors{backend: ap1} == 0"]`},
		{about: "Misspelled fault", old: "fault: kill", new: "fault: kil"},
		{about: "Misspelled setting of a fault", old: "fault: kill", new: "with: {dely: 1s}, fault: slow"},
		{about: "Misspelled target", old: "target: app1", new: "target: ap1"},
		{about: "Misspelled phase", old: "phase: peak", new: "phase: paek"},
		{about: "Misspelled backend in limits", old: "app1: {memory: 64MiB}", new: "app3: {memory: 64MiB}"},
		{about: "Image of a backend", old: "app1: {memory: 64MiB}", new: "app1: {image: acme/shop}"},
		{about: "Misspelled check", old: "doc:", new: "checks: [weight]\ndoc:"},
		{about: "Misspelled configuration", old: "nginx/nginx.conf", new: "nginx/nginx.cfg"},
		{about: "Running balancer", old: "nginx/nginx.conf", new: "http://localhost:8080"},
	}},
}

const mistakesHead = `# Common mistakes

What lbproof prints for common mistakes. The exit code is 2, unless another one is shown. Each error names the object,
the problem and, where there is one, the fix. Generated by ` + "`go test ./cmd/lbproof -run TestMistakes -update-docs`" + `.
`

// TestMistakes compares what lbproof prints for common mistakes with docs/mistakes.md.
func TestMistakes(t *testing.T) {
	page, err := filepath.Abs("../../docs/mistakes.md")
	require.NoError(t, err)
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	var scenario string
	for _, f := range archive.Files {
		require.NoError(t, os.MkdirAll(filepath.Dir(f.Name), 0o755))
		require.NoError(t, os.WriteFile(f.Name, f.Data, 0o600))
		if f.Name == "scenario.yaml" {
			scenario = string(f.Data)
		}
	}
	got := mistakesHead
	for _, section := range mistakes {
		got += "\n## " + section.title + "\n"
		for _, m := range section.all {
			got += m.run(t, scenario)
		}
	}
	if *updateDocs {
		require.NoError(t, os.WriteFile(page, []byte(got), 0o600))
	}
	want, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "docs/mistakes.md is not up to date; run the test with -update-docs")
}

// run makes the mistake and returns its section of the page.
func (m mistake) run(t *testing.T, scenario string) string {
	t.Helper()
	text := "\n" + m.about
	if m.command == "" {
		require.Contains(t, scenario, m.old)
		m.command = "test scenario.yaml"
		changed := strings.Replace(scenario, m.old, m.new, 1)
		require.NoError(t, os.WriteFile("scenario.yaml", []byte(changed), 0o600))
		defer func() { require.NoError(t, os.WriteFile("scenario.yaml", []byte(scenario), 0o600)) }()
		for line := range strings.Lines(m.new) {
			if line = strings.TrimSpace(line); !strings.Contains(m.old, line) {
				text += ", `" + line + "`"
			}
		}
	}
	var stdout, stderr bytes.Buffer
	code := Main(strings.Fields(m.command), nil, &stdout, &stderr)
	assert.Empty(t, stdout.String(), m.command)
	text += fmt.Sprintf(":\n\n```console\n$ lbproof %s\n%s", m.command, stderr.String())
	if code != exitUsage {
		text += fmt.Sprintf("exit code %d\n", code)
	}
	return text + "```\n"
}
