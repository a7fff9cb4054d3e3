package run

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
)

// Missing host resources are reported before anything is sent, with numbers.
func TestTooManyConnections(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	most := int(limit.Max)
	require.NoError(t, raiseFileLimit(plan.Phase{Name: "p", Count: most, Concurrency: most - spareFiles}))
	err := raiseFileLimit(plan.Phase{Name: "p", Count: most, Concurrency: most})
	assert.ErrorContains(t, err, "phase p: needs")
	assert.ErrorContains(t, err, "open files, but the worker's limit is")
	assert.NoError(t, raiseFileLimit(plan.Phase{Count: 10, Concurrency: most}), "no more than there are requests")
	err = checkPorts(plan.Phase{Name: "p", Count: 1 << 20, Concurrency: 70_000})
	assert.ErrorContains(t, err, "phase p: needs 70000 ports per address")
	assert.NoError(t, checkPorts(plan.Phase{Count: 1 << 20, Concurrency: 70_000, Clients: plan.Clients{Count: 100, OwnAddresses: true}}))
	assert.Equal(t, 500, maxConnections(plan.Phase{Count: 1000, Concurrency: 10, Clients: plan.Clients{Count: 500}}))
	assert.Equal(t, 10, maxConnections(plan.Phase{Count: 1000, Concurrency: 10, NewConnections: true, Clients: plan.Clients{Count: 500}}))
}
