package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
	"github.com/lbproof/lbproof/scenarios"
)

const scenariosPage = "../docs/scenarios.md"

// The table of built-in scenarios matches lbproof list scenarios; -update rewrites it.
func TestDocsListScenarios(t *testing.T) {
	text, err := os.ReadFile(scenariosPage)
	require.NoError(t, err)
	begin, rest, ok := strings.Cut(string(text), "<!-- scenarios -->\n")
	require.True(t, ok)
	was, end, ok := strings.Cut(rest, "<!-- end of scenarios -->\n")
	require.True(t, ok)
	is := "\n| scenario | traffic and faults |\n|---|---|\n"
	for _, name := range scenarios.List() {
		s, err := scenarios.Read(scenarios.BuiltIn, name+".yaml")
		require.NoError(t, err)
		is += fmt.Sprintf("| `%s` | %s |\n", name, s.Doc)
	}
	is += "\n"
	if *update {
		page := begin + "<!-- scenarios -->\n" + is + "<!-- end of scenarios -->\n" + end
		require.NoError(t, os.WriteFile(scenariosPage, []byte(page), 0o644))
		return
	}
	assert.Equal(t, is, was, "go test ./scenarios -run DocsList -update rewrites the table")
}

// yamlBlock matches a YAML example in a page; its first line may be a comment with the name of a file.
var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(?:# ([a-z]+[.]rules[.]yml)\n)?(.*?)^```$")

// Every example of the page is read, and each with phases makes a valid plan. A part of a scenario is completed with
// the fields that it leaves out.
func TestDocsScenariosAreValid(t *testing.T) {
	text, err := os.ReadFile(scenariosPage)
	require.NoError(t, err)
	folder := t.TempDir()
	var examples []string
	for _, m := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
		if m[1] != "" {
			require.NoError(t, os.WriteFile(filepath.Join(folder, m[1]), []byte(m[2]), 0o644))
		}
		if strings.Contains(m[2], "phases:") {
			examples = append(examples, m[2])
		}
	}
	require.NotEmpty(t, examples)
	for i, example := range examples {
		name := fmt.Sprintf("example-%d.yaml", i)
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(completeScenario(example)), 0o644))
		s, err := scenarios.Read(os.DirFS(folder), name)
		require.NoError(t, err, example)
		cfg, err := lbconfigs.Read(lbconfigs.BuiltIn, strings.TrimPrefix(s.Config, "builtin:"), "")
		require.NoError(t, err, example)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err, example)
		p, err := s.Plan(cfg, specs)
		require.NoError(t, err, example)
		assert.NoError(t, p.Validate(), example)
	}
}

// completeScenario adds the required fields that an example leaves out.
func completeScenario(example string) string {
	for _, field := range []string{"name: example", "doc: an example", "config: builtin:nginx/weighted"} {
		key, _, _ := strings.Cut(field, " ")
		if !strings.HasPrefix(example, key) && !strings.Contains(example, "\n"+key) {
			example = field + "\n" + example
		}
	}
	return example
}
