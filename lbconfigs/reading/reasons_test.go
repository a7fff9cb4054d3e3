package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReasons(t *testing.T) {
	assert.Equal(t, map[string]string{"a": "", "b": "", "c": "why"}, IndexReasons(map[string]string{"": "a\n\tb", "why": "c"}))
	assert.PanicsWithValue(t, "two reasons for a", func() { IndexReasons(map[string]string{"": "a", "why": "b a"}) })
}
