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

// Without a registry, an image can be built if this machine has the tools and the packages are known.
func TestAvailabilityWithoutARegistry(t *testing.T) {
	e := engine(t)
	const ref = "127.0.0.1:1/nothing:1"
	can := e.Availability(t.Context(), plan.Image{Ref: ref, Packages: []string{"busybox-static"}})
	assert.Equal(t, Buildable, can.State)
	assert.Contains(t, can.Origin, "from Debian's busybox-static; "+ref+" cannot be pulled: ")
	can = e.Availability(t.Context(), plan.Image{Ref: ref})
	assert.Equal(t, Unavailable, can.State)
	assert.Contains(t, can.Origin, "no Debian package is known for "+ref)
	t.Setenv("PATH", "")
	can = e.Availability(t.Context(), plan.Image{Ref: ref, Module: &plan.Module{Name: "xy", Path: "example.com/xy", Version: "v1.0.0", Package: "cmd/x"}})
	assert.Equal(t, Unavailable, can.State)
	assert.Contains(t, can.Origin, "go is not on this machine: install it, or load "+ref+" into Docker")
	can = e.Availability(t.Context(), plan.Image{})
	assert.NotEqual(t, Unavailable, can.State, can.Origin)
}

// If a registry answers, a missing image is pulled; the next time it is local.
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

	can := s.made.engine.Availability(t.Context(), plan.Image{Ref: ref})
	assert.Equal(t, Availability{Pullable, ref + " from its registry"}, can)

	for _, source := range []string{"pulled", "local"} {
		found, err := s.made.engine.Image(t.Context(), plan.Image{Ref: ref})
		require.NoError(t, err)
		assert.Equal(t, stack.Image{Ref: ref, Source: source}, found)
	}
}
