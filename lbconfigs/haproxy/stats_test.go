package haproxy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

func TestControlConditions(t *testing.T) {
	f := func(condition string, want ...string) {
		t.Helper()
		assert.Equal(t, want, model.Sources(controlConditions(strings.Fields(condition))))
	}
	f("if TRUE")
	f("if LOCALHOST", "LOCALHOST")
	f("if { src 10.0.0.0/8 }", "{ src 10.0.0.0/8 }")
	f("unless outside", "not (outside)")
}
