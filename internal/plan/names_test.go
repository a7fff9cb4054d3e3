package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/model"
)

// The names of lbproof's own nodes are those of no host, and their host names lie in a domain of their own.
func TestOwnNames(t *testing.T) {
	for _, short := range []string{"nginx", "nginx-2", "redis"} {
		node := OwnName(short)
		assert.NotEmpty(t, model.HostFlaw(node), "no configuration can name it")
		assert.Equal(t, short, Short(node))
		assert.Equal(t, short+"."+model.Reserved, HostOf(node))
		assert.True(t, model.InReserved(HostOf(node)))
	}
	assert.Equal(t, "worker.lbproof.internal", HostOf(WorkerName))
	assert.True(t, model.InReserved("LBproof.Internal."))
	assert.False(t, model.InReserved("mylbproof.internal"))
	assert.True(t, model.SameHost("BACK-01.", "back-01"))
	assert.False(t, model.SameHost("back-01", "back-01.example.com"))
}
