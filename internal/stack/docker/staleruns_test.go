package docker

import (
	"context"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// If lbproof is killed before its reaper runs, created containers and networks are left. They are found and removed
// after a grace period; those of an active run are not.
func TestStaleRuns(t *testing.T) {
	s := open(t)
	d := s.made.engine
	found, err := d.Image(t.Context(), plan.Image{})
	require.NoError(t, err)
	stale := d.newStack(stack.RunConfig{Run: "killed"})
	_, err = d.client.ContainerCreate(t.Context(), client.ContainerCreateOptions{Config: &container.Config{
		Image: found.Ref, Cmd: []string{"/lbproof"}, Labels: map[string]string{labelRun: stale.config.Run, labelRole: string(stack.Reaper)},
	}})
	require.NoError(t, err)
	require.NoError(t, stale.createDefaultNetwork(t.Context(), 0, nil))
	t.Cleanup(func() { _ = d.RemoveStaleRun(context.Background(), StaleRun{Run: stale.config.Run}) }) // if the test ended early

	of := func(at time.Time) (mine StaleRun, others []string) {
		all, err := d.staleRunsAt(t.Context(), at)
		require.NoError(t, err)
		for _, r := range all {
			if r.Run == stale.config.Run {
				mine = r
			} else {
				others = append(others, r.Run)
			}
		}
		return mine, others
	}
	young, _ := of(time.Now())
	assert.Empty(t, young.Run, "its reaper may be about to start")
	old, others := of(time.Now().Add(reaperStartGrace + time.Minute))
	assert.Contains(t, old.String(), "run killed of ")
	assert.Contains(t, old.String(), "container ")
	assert.Contains(t, old.String(), "network ")
	assert.NotContains(t, others, s.made.config.Run, "an active run")

	require.NoError(t, d.RemoveStaleRun(t.Context(), old))
	left, err := listLeftovers(t.Context(), d.client, stale.config.Run, true)
	require.NoError(t, err)
	assert.Empty(t, left)
	left, err = listLeftovers(t.Context(), d.client, s.made.config.Run, true)
	require.NoError(t, err)
	assert.NotEmpty(t, left)
}

// Images of other builds of lbproof are removed, unless a container uses them.
func TestRemoveOlderNodeImages(t *testing.T) {
	s := open(t)
	d := s.made.engine
	own, err := d.Image(t.Context(), plan.Image{})
	require.NoError(t, err)
	for _, older := range []string{"older1", "older2"} {
		_, err := d.client.ImageTag(t.Context(), client.ImageTagOptions{Source: own.Ref, Target: nodeImageName + ":" + older})
		require.NoError(t, err)
	}
	d.removeOlderNodeImages(t.Context(), own.Ref)
	for _, older := range []string{"older1", "older2"} {
		_, err = d.client.ImageInspect(t.Context(), nodeImageName+":"+older)
		assert.Error(t, err, older)
	}
	_, err = d.client.ImageInspect(t.Context(), own.Ref)
	assert.NoError(t, err)
	nodes, err := s.NodeRecords(t.Context())
	require.NoError(t, err)
	for _, n := range nodes {
		assert.Contains(t, n.ImageID, "sha256:")
	}
}

// An image that was built from Debian packages is only built again if Debian has newer ones, and replaces the old one.
func TestUpdate(t *testing.T) {
	s := open(t)
	d := s.made.engine
	image := plan.Image{Ref: "localhost:1/renewed:here", Packages: []string{"busybox-static"}}
	older := map[string]string{labelRecipe: recipeDigest(image), labelPackages: "of another day", labelSource: "built long ago"}
	forget := func() {
		built, err := d.listBuilt(context.Background(), image)
		assert.NoError(t, err)
		d.removeImages(context.Background(), built)
	}
	forget() // left by a killed test
	t.Cleanup(forget)
	require.NoError(t, d.importImage(t.Context(), "lbproof/renewed:older", imageConfig{labels: older}, func(l layer) error { return l.file("etc/older", 0o644, nil) }))
	found, err := d.Image(t.Context(), image)
	require.NoError(t, err)
	assert.Equal(t, "lbproof/renewed:older", found.Ref, "a run uses the image on this machine")

	found, news, err := d.Update(t.Context(), image)
	require.NoError(t, err)
	assert.Equal(t, "built", news)
	assert.Contains(t, found.Source, "built from Debian's busybox-static")
	built, err := d.listBuilt(t.Context(), image)
	require.NoError(t, err)
	require.Len(t, built, 1, "the older one was removed")
	assert.Equal(t, []string{found.Ref}, built[0].RepoTags)

	again, news, err := d.Update(t.Context(), image)
	require.NoError(t, err)
	assert.Equal(t, found, again)
	assert.Equal(t, "up to date", news)
}
