package units

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"baseline", "spike"}
	assert.Equal(t, "did you mean baseline?", DidYouMean("baslin", known, "see the list"))
	assert.Equal(t, "see the list", DidYouMean("order", known, "see the list"))
}
