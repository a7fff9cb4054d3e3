package units

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestNumbers(t *testing.T) {
	assert.Equal(t, "0.34 %", Percent(0.0034))
	assert.Equal(t, "16.7 %", PercentTenths(1./6))
	assert.Equal(t, "22.58 %", PercentHundredths(0.22581))
	assert.Equal(t, "999", Number(999))
	assert.Equal(t, "1,234,567", Number(1234567))
}

func TestLists(t *testing.T) {
	assert.Equal(t, "", Join(nil))
	assert.Equal(t, "a", Join([]string{"a"}))
	assert.Equal(t, "a, b and c", Join([]string{"a", "b", "c"}))
	assert.Equal(t, "502 or 504", Alternatives([]int{502, 504}))
	assert.Equal(t, "a or b", JoinWith([]text{"a", "b"}, " or "))
}

type text string

func TestSpans(t *testing.T) {
	assert.Equal(t, 1.5, Seconds(1500*time.Millisecond))
}
