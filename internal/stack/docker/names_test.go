package docker

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

func TestContainerNames(t *testing.T) {
	s := (&Engine{}).newStack(stack.RunConfig{Run: "1a2b3c4d"})
	for _, c := range []struct{ node, want string }{
		{plan.HarnessName("nginx"), "lbproof-1a2b3c4d-nginx"},
		{plan.HarnessName("nginx") + "-agent", "lbproof-1a2b3c4d-nginx-agent"},
		{"api-1.example", "lbproof-1a2b3c4d-api-1.example"},
		{"größe [::1]", "lbproof-1a2b3c4d-gr--e----1-"},
		{"gr-/e [::1]", "lbproof-1a2b3c4d-gr--e----1--2"},
		{"api-1.example", "lbproof-1a2b3c4d-api-1.example-2"},
		{strings.Repeat("x", 300), "lbproof-1a2b3c4d-" + strings.Repeat("x", maxNodeName)},
		{string(stack.Reaper), "lbproof-1a2b3c4d-reaper"},
	} {
		assert.Equal(t, c.want, s.nextName(c.node), c.node)
	}
}

// Names of containers and networks contain the run's id. Names that are already in use do not keep a run from starting.
func TestNamesInUse(t *testing.T) {
	const run = "namestest"
	e := engine(t)
	image, err := e.Image(t.Context(), plan.Image{})
	require.NoError(t, err)
	network, err := e.client.NetworkCreate(t.Context(), "lbproof-"+run, client.NetworkCreateOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = e.client.NetworkRemove(context.Background(), network.ID, client.NetworkRemoveOptions{}) })
	for _, node := range []string{"b1", "reaper"} {
		left, err := e.client.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: "lbproof-" + run + "-" + node, Config: &container.Config{Image: image.Ref, Cmd: []string{"/lbproof"}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { remove(context.Background(), e.client, leftover{kind: "container", id: left.ID}) })
	}

	s := opened(t, e, stack.Setup{Run: run, Specs: []plan.Spec{
		{Name: "main", Address: "198.51.100.7"}, {Name: "far", Address: "203.0.113.7"},
	}})
	for _, node := range []string{"b1", "b2"} {
		spec, files := backend(node)
		require.NoError(t, s.Start(t.Context(), spec, files))
	}
	sidecar := stack.Command{Argv: []string{"wait-ports"}, RunLbproof: true}
	_, err = s.node(t, "b2").Run(t.Context(), sidecar)
	require.NoError(t, err)
	mine := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := e.client.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: mine})
	require.NoError(t, err)
	var names []string
	for _, c := range containers.Items {
		names = append(names, strings.TrimPrefix(c.Names[0], "/"))
	}
	assert.ElementsMatch(t, []string{
		"lbproof-namestest-b1-2", "lbproof-namestest-b2", "lbproof-namestest-b2-wait-ports", "lbproof-namestest-reaper-2",
	}, names)
	networks, err := e.client.NetworkList(t.Context(), client.NetworkListOptions{Filters: mine})
	require.NoError(t, err)
	names = nil
	for _, n := range networks.Items {
		names = append(names, n.Name)
	}
	assert.ElementsMatch(t, []string{"lbproof-namestest-2", "lbproof-namestest-203.0.113.0-24"}, names)
	assert.Equal(t, netip.Prefix{}, s.ClientNetwork())
}
