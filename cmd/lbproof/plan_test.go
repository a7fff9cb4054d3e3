package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/target"
)

// Planning a configuration with many servers takes seconds, not minutes: the time must not grow with the square of the
// number of routes.
func TestPlanOfManyServers(t *testing.T) {
	began := time.Now()
	p, err := target.Reader{Balancers: 1}.Plan(sites(t, 300))
	require.NoError(t, err)
	assert.Len(t, p.Config.Routes, 300)
	assert.Less(t, time.Since(began), 30*time.Second)
}
