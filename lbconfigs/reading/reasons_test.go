package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReasons(t *testing.T) {
	index := IndexReasons(map[string]string{"": "a\n\tb", "why": "c"})
	assert.Equal(t, map[string]string{"a": "", "b": "", "c": "why"}, index)
	assert.PanicsWithValue(t, "two reasons for a", func() { IndexReasons(map[string]string{"": "a", "why": "b a"}) })
}
