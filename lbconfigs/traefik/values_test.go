package traefik

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTimes(t *testing.T) {
	f := func(text string, want time.Duration) {
		t.Helper()
		got, err := parseTime(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("10", 10*time.Second)
	f("100ms", 100*time.Millisecond)
	f("x", -1)
}
