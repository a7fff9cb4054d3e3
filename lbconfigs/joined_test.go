package lbconfigs_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
)

// The folders of all balancers form one file system, with the names that claims contain.
func TestBuiltInIsAFileSystem(t *testing.T) {
	require.NoError(t, fstest.TestFS(lbconfigs.BuiltIn,
		"nginx/order-api/nginx.conf", "haproxy/order-api/haproxy.cfg", "traefik/order-api/traefik.yaml"))
}
