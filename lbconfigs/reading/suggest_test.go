package reading

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDidYouMean(t *testing.T) {
	assert.Equal(t, "; did you mean server?", DidYouMean("sever", []string{"listen", "server"}))
	assert.Empty(t, DidYouMean("", []string{"b"}))
	assert.Empty(t, DidYouMean("a", []string{"b"}))
	assert.Empty(t, DidYouMean("unknown", []string{"listen", "server"}))
}
