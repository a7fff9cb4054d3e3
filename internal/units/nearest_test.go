package units

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNearest(t *testing.T) {
	known := []string{"proxy_pass", "proxy_method", "server", "server_name", "map", "test", "list"}
	for word, want := range map[string]string{
		"proxy_pas":   "proxy_pass",
		"porxy_pass":  "proxy_pass",
		"Proxy_Pass":  "proxy_pass",
		"servername":  "server_name",
		"sever":       "server",
		"mpa":         "map",
		"tset":        "test",
		"xyz":         "",
		"brotli":      "",
		"":            "",
		"proxy_cache": "",
	} {
		assert.Equal(t, want, Nearest(word, known), word)
	}
	assert.Empty(t, Nearest("test", nil))
}

func TestTypingErrors(t *testing.T) {
	assert.Equal(t, 0, TypingErrors("abc", "abc"))
	assert.Equal(t, 3, TypingErrors("", "abc"))
	assert.Equal(t, 3, TypingErrors("abc", ""))
	assert.Equal(t, 1, TypingErrors("abc", "acb"))
	assert.Equal(t, 3, TypingErrors("kitten", "sitting"))
}
