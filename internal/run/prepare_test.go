package run

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
)

// What a load needs and the machine has not is said before anything is sent, with numbers.
func TestTooManyConnections(t *testing.T) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	most := int(limit.Max)
	require.NoError(t, enoughFiles(lb.Load{Name: "p", Count: most, Concurrency: most - spareFiles}))
	err := enoughFiles(lb.Load{Name: "p", Count: most, Concurrency: most})
	assert.ErrorContains(t, err, "phase p needs")
	assert.ErrorContains(t, err, "open files and the worker may have")
	assert.NoError(t, enoughFiles(lb.Load{Count: 10, Concurrency: most}), "no more than there are requests")
	err = enoughPorts(lb.Load{Name: "p", Count: 1 << 20, Concurrency: 70_000})
	assert.ErrorContains(t, err, "phase p needs 70000 ports of one address")
	assert.NoError(t, enoughPorts(lb.Load{Count: 1 << 20, Concurrency: 70_000, Clients: lb.Clients{Count: 100, Addresses: true}}))
	assert.Equal(t, 500, connections(lb.Load{Count: 1000, Concurrency: 10, Clients: lb.Clients{Count: 500}}))
	assert.Equal(t, 10, connections(lb.Load{Count: 1000, Concurrency: 10, Fresh: true, Clients: lb.Clients{Count: 500}}))
}
