package report

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
)

func TestBuilds(t *testing.T) {
	f := func(want, recorded, judged string) {
		t.Helper()
		assert.Equal(t, want, Report{Env: history.Environment{Lbproof: recorded}, JudgedBy: judged}.Builds())
	}
	f("", "v1.0.0", "v1.0.0")
	f("recorded by lbproof v1.0.0, judged by lbproof v1.1.0", "v1.0.0", "v1.1.0")
	f("recorded by lbproof (unknown version), judged by lbproof v1.1.0", "", "v1.1.0")
	f("", "(devel) 3fJ1xqHn0dU5", "(devel) 3fJ1xqHn0dU5")
	f("recorded by lbproof (devel) 3fJ1xqHn0dU5, judged by lbproof (devel) 8Zq0rmC1yW2b",
		"(devel) 3fJ1xqHn0dU5", "(devel) 8Zq0rmC1yW2b")
}
