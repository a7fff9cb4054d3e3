package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMistakenExpectations(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := ParseExpectation(text)
		assert.ErrorContains(t, err, want)
	}
	f("fast", "is no expectation: write for example p99 < 250ms")
	f("p99 < fast", "fast is no time")
	f("p100 < 1s", "between p0 and p100")
	f("p99 == 1s", "write < or >")
	f("errors < few", "few is no number")
	f("errors{status: ok} == 0", "ok is no status")
	f("errors{colour: red} == 0", "is no expectation")
}
