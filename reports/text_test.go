package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrap(t *testing.T) {
	word := strings.Repeat("x", 50)
	assert.Equal(t, word+"\n"+word+" a\n\nb\n  1  as it is\nc", Wrap(word+"\n"+word+"\na\n\nb\n  1  as it is\nc"))
	assert.Empty(t, Wrap(""))
}

func TestWriteRows(t *testing.T) {
	var b strings.Builder
	long := strings.Repeat("word ", 20)
	require.NoError(t, WriteRows(&b, []Row{{"a", "first"}, {"", "more"}, {"long", long}}))
	for line := range strings.Lines(b.String()) {
		assert.LessOrEqual(t, len(line), width+1)
		assert.Regexp(t, `^(  a     first|        more|  long  word|        word)`, line)
	}
}
