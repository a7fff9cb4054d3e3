package lb

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBuilds(t *testing.T) {
	f := func(want, recorded, judged string) {
		t.Helper()
		assert.Equal(t, want, Report{Env: Environment{Lbproof: recorded}, Judged: judged}.Builds())
	}
	f("", "v1.0.0", "v1.0.0")
	f("recorded by lbproof v1.0.0, judged by lbproof v1.1.0", "v1.0.0", "v1.1.0")
	f("recorded by lbproof of no known version, judged by lbproof v1.1.0", "", "v1.1.0")
	f("recorded and judged by lbproof (devel), which is the name of many builds", "(devel)", "(devel)")
	f("recorded and judged by lbproof v0.0.0-20261121101500-0123456789ab+dirty, which is the name of many builds",
		"v0.0.0-20261121101500-0123456789ab+dirty", "v0.0.0-20261121101500-0123456789ab+dirty")
}
