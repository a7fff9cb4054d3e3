package docker

import (
	"io"
	"log"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Where a registry answers, an image that is not here is pulled, and the next time it is local.
func TestImageIsPulled(t *testing.T) {
	s := open(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	ref := "127.0.0.1:" + port + "/nothing:1"

	own, err := s.made.engine.Image(t.Context(), plan.Image{})
	require.NoError(t, err)
	cli := s.made.engine.client
	_, err = cli.ImageTag(t.Context(), client.ImageTagOptions{Source: own.Ref, Target: ref})
	require.NoError(t, err)
	pushed, err := cli.ImagePush(t.Context(), ref, client.ImagePushOptions{RegistryAuth: "e30="})
	require.NoError(t, err)
	require.NoError(t, pushed.Wait(t.Context()))
	_, err = cli.ImageRemove(t.Context(), ref, client.ImageRemoveOptions{})
	require.NoError(t, err)
	defer func() { _, _ = cli.ImageRemove(t.Context(), ref, client.ImageRemoveOptions{}) }()

	for _, source := range []string{"pulled", "local"} {
		found, err := s.made.engine.Image(t.Context(), plan.Image{Ref: ref})
		require.NoError(t, err)
		assert.Equal(t, stack.Image{Ref: ref, Source: source}, found)
	}
}
