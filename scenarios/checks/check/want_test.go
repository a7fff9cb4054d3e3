package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
)

// A client that receives a response late has been silent for longer than it measured.
func TestSilenceOfALateClient(t *testing.T) {
	want := Want{Silence: Interval{65 * time.Second, 66 * time.Second}}
	f := func(differs bool, quiet, all time.Duration) {
		t.Helper()
		assert.Equal(t, differs, want.silenceMismatch(history.Hit{Silence: quiet, Done: all}) != "")
	}
	f(false, 65500*time.Millisecond, 65500*time.Millisecond)
	f(false, 64500*time.Millisecond, 65200*time.Millisecond)
	f(true, 64500*time.Millisecond, 64600*time.Millisecond)
	f(true, 66500*time.Millisecond, 66600*time.Millisecond)
}
