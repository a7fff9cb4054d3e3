package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

// The names of lbproof's own nodes are not valid host names, and their host names are in a reserved domain.
func TestOwnNames(t *testing.T) {
	for _, short := range []string{"nginx", "nginx-2", "redis"} {
		node := HarnessName(short)
		assert.NotEmpty(t, model.InvalidHostReason(node), "a configuration could name it")
		assert.Equal(t, short, ShortName(node))
		assert.Equal(t, short+"."+model.ReservedDomain, HostName(node))
		assert.True(t, model.IsReservedHost(HostName(node)))
	}
	assert.Equal(t, "worker.lbproof.internal", HostName(WorkerName))
	assert.True(t, model.IsReservedHost("LBproof.Internal."))
	assert.False(t, model.IsReservedHost("mylbproof.internal"))
	assert.True(t, model.SameHost("BACK-01.", "back-01"))
	assert.False(t, model.SameHost("back-01", "back-01.example.com"))
}
