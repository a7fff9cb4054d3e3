package lbconfigs_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
)

// The table of docs/configuration.md has every built-in configuration once.
func TestDocsListConfigurations(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "<!-- configurations -->\n")
	require.True(t, ok)
	table, _, ok = strings.Cut(table, "<!-- end of configurations -->\n")
	require.True(t, ok)
	inCode := regexp.MustCompile("`([^`]+)`")
	var listed []string
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) < 2 {
			continue
		}
		for _, m := range inCode.FindAllStringSubmatch(cells[1], -1) {
			listed = append(listed, m[1])
		}
	}
	slices.Sort(listed)
	assert.Equal(t, lbconfigs.Names(), listed)
}
