package traefik

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNearestKey(t *testing.T) {
	assert.Equal(t, 0, distance("retry", "retry"))
	assert.Equal(t, 2, distance("recoverduration", "recoveryduratio"))
	below, _ := dynamicSchema["http"]["middlewares"].find("any")
	assert.Equal(t, "recoveryDuration", below["circuitBreaker"].nearest("recoverDuration"))
}
