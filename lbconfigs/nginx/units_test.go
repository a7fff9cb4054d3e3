package nginx

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
	f("1h30m", 90*time.Minute)
	f("250ms", 250*time.Millisecond)
	f("1M", 30*24*time.Hour)
	f("", -1)
	f("soon", -1)
}

func TestSizes(t *testing.T) {
	f := func(text string, want int64) {
		t.Helper()
		got, err := parseSize(text)
		if want < 0 {
			assert.Error(t, err, text)
			return
		}
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	f("10m", 10<<20)
	f("8K", 8<<10)
	f("0", 0)
	f("-1", -1)
	f("lots", -1)
}
