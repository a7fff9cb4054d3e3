package folder

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// docs/run-folder.md has the columns of every table, in their order, and every file.
func TestDocsListColumns(t *testing.T) {
	text, err := os.ReadFile("../../docs/run-folder.md")
	require.NoError(t, err)
	for name, table := range map[string]*parquet.Schema{
		hitsFile:     parquet.SchemaOf(new(hitRow)),
		arrivalsFile: parquet.SchemaOf(new(arrivalRow)),
		samplesFile:  parquet.SchemaOf(new(sampleRow)),
		attemptsFile: parquet.SchemaOf(new(attemptRow)),
	} {
		var columns []string
		for _, field := range table.Fields() {
			columns = append(columns, field.Name())
		}
		assert.Equal(t, columns, documentedRows(string(text), "### `"+name+"`"), name)
	}
	withFaults := plan.Plan{Events: make([]plan.Event, 1)}
	files := documentedRows(string(text), "## Files")
	for _, name := range append(expectedFiles(withFaults), manifestFile, LogsFolder+"/") {
		assert.Contains(t, files, name)
	}
}

// docs/run-folder.md has every kind of error that a hit can have.
func TestDocsListErrors(t *testing.T) {
	text, err := os.ReadFile("../../docs/run-folder.md")
	require.NoError(t, err)
	for _, kind := range documentedRows(string(text), "#### Errors") {
		assert.True(t, history.Err(kind).IsValid(), kind)
	}
}

// documentedRows returns the code in the first column of the table under a heading.
func documentedRows(text, heading string) (rows []string) {
	_, section, _ := strings.Cut(text, "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
	}
	return rows
}
