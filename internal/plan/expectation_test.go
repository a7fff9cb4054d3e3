package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInvalidExpectations(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := ParseExpectation(text)
		assert.ErrorContains(t, err, want)
	}
	f("fast", "is not an expectation; write e.g. p99 < 250ms")
	f("p99 < 250", `"250" has no unit; write e.g. 250ms or 250s`)
	f("p99 < fast", `"fast" is not a duration`)
	f("p100 < 1s", "p100 is not a percentile; write one between p0 and p100")
	f("p99 == 1s", "write < or >")
	f("errors < few", `"few" is not a number`)
	f("errors{status: ok} == 0", `"ok" is not a status`)
	f("errors{colour: red} == 0", "is not an expectation")
}
