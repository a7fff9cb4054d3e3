package units

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAmounts(t *testing.T) {
	assert.Equal(t, "500 B", Bytes(500))
	assert.Equal(t, "1 MiB (1,048,576 B)", Bytes(1<<20))
	assert.Equal(t, "1.5 KiB (1,536 B)", Bytes(1536))
	assert.Equal(t, "0", Decimal(0))
	assert.Equal(t, "0.167", Decimal(1.0/6))
	assert.Equal(t, "-0.5", Decimal(-0.5))
	assert.Equal(t, "1,048,576", Decimal(1<<20))
	assert.Equal(t, "60", Decimal(59.9999))
}
