package docker

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

// What the harness has forgotten to take back, because it hangs, the reaper does.
func TestFaultsExpire(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	spec.CPUs = 0.5
	require.NoError(t, s.Start(t.Context(), spec, files))
	soon := func() Node { return s.Node("b1").Expiring(300 * time.Millisecond) }
	healed := func(is func() bool) { // perhaps before anybody has looked
		t.Helper()
		assert.Eventually(t, is, 10*time.Second, 20*time.Millisecond)
	}
	require.NoError(t, soon().Pause(t.Context()))
	healed(func() bool { paused, err := s.Node("b1").Paused(t.Context()); return err == nil && !paused })
	lived, err := s.Node("b1").inspect(t.Context())
	require.NoError(t, err)
	require.NoError(t, soon().Kill(t.Context(), "SIGKILL"))
	healed(func() bool {
		info, err := s.Node("b1").inspect(t.Context())
		return err == nil && info.State.Running && info.State.StartedAt != lived.State.StartedAt
	})
	before, err := soon().Limit(t.Context(), 0.1)
	require.NoError(t, err)
	assert.InDelta(t, 0.5, before, 0)
	healed(func() bool {
		info, err := s.Node("b1").inspect(t.Context())
		return err == nil && info.HostConfig.NanoCPUs == 500_000_000
	})

	later := s.Node("b1").Expiring(300 * time.Millisecond)
	require.NoError(t, later.Pause(t.Context()))
	require.NoError(t, later.Unpause(t.Context()))
	require.NoError(t, s.Node("b1").Pause(t.Context())) // by nobody's will
	assert.Never(t, func() bool { paused, err := s.Node("b1").Paused(t.Context()); return err != nil || !paused },
		600*time.Millisecond, 50*time.Millisecond, "what was taken back is not taken back again")
	require.NoError(t, s.Node("b1").Unpause(t.Context()))
}

// Who died before anybody watched is missed all the same.
func TestDeathBeforeTheWatch(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	spec.Restarts = false
	require.NoError(t, s.Start(t.Context(), spec, files))
	_, err := s.docker.client.ContainerKill(t.Context(), s.node("b1").container.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Gone(t.Context(), "b1") != nil }, 5*time.Second, 20*time.Millisecond)
	watched, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	assert.ErrorContains(t, s.Watch(watched), "the container b1 died: exit status 137")
}

// A container that is not the run's cannot be named.
func TestForeignContainersCannotBeNamed(t *testing.T) {
	s := open(t)
	own, err := s.docker.own(t.Context())
	require.NoError(t, err)
	made, err := s.docker.client.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config: &container.Config{Image: own.Ref, Cmd: []string{"/lbproof", "reach"}},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := s.docker.client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
		assert.NoError(t, err)
	})
	for _, name := range []string{made.ID, made.ID[:12]} {
		n := s.Node(name)
		assert.ErrorContains(t, n.Kill(t.Context(), "SIGKILL"), "the run has no node")
		assert.ErrorContains(t, n.Pause(t.Context()), "the run has no node")
		_, err := n.Limit(t.Context(), 0.1)
		assert.ErrorContains(t, err, "the run has no node")
		_, err = n.Enforce(t.Context(), agent.Rule{})
		assert.ErrorContains(t, err, "the run has no node")
	}
}

// A rule of the network takes itself back when its time is over, though nobody says so.
func TestRulesExpire(t *testing.T) {
	s := open(t)
	s.Pods = true
	spec, files := backend("b1")
	spec.Ports, spec.Control = []int{8000}, 7070
	spec.Command = append(spec.Command, "--ledger", plan.LedgerDir+"/arrivals")
	require.NoError(t, s.Start(t.Context(), spec, files))
	peer, _ := backend("b2")
	require.NoError(t, s.Start(t.Context(), peer, files))
	at, err := s.Node("b1").Addresses(t.Context())
	require.NoError(t, err)
	with, err := s.Node("b2").Addresses(t.Context())
	require.NoError(t, err)
	look := func(want agent.End) error {
		_, err := s.Node("b2").Look(t.Context(), agent.Look{
			At: netip.AddrPortFrom(at[0], 8000), Path: "/", Timeout: time.Second, Every: 5 * time.Millisecond, Within: 10 * time.Second,
			Want: agent.Want{Ends: []agent.End{want}},
		})
		return err
	}
	require.NoError(t, look(agent.Answered))
	_, err = s.Node("b1").Enforce(t.Context(), agent.Rule{Do: agent.Refuse, With: with, Ports: []int{8000}, For: 500 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, look(agent.Refused))
	require.NoError(t, look(agent.Answered))
}

// The reaper may be killed or removed: another takes its place and is told what stands, and everything goes with the run all the same.
func TestTheReaperDies(t *testing.T) {
	var mu sync.Mutex
	var told []string
	d := &Docker{Binary: built(t), Progress: func(text string) { mu.Lock(); told = append(told, text); mu.Unlock() }}
	if testing.Short() {
		t.Skip("needs Docker")
	}
	_, err := d.Connect(t.Context())
	require.NoError(t, err)
	s, err := d.Open(t.Context(), "reaperdies", nil, 0)
	require.NoError(t, err)
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	reaper := func() string {
		left, err := leftovers(t.Context(), d.client, s.run, true)
		require.NoError(t, err)
		for _, l := range left {
			if l.reaper {
				return l.id
			}
		}
		return ""
	}
	first := reaper()
	require.NoError(t, s.Node("b1").Expiring(time.Second).Pause(t.Context())) // and nobody takes it back but the reaper
	_, err = d.client.ContainerKill(t.Context(), first, client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		paused, err := s.Node("b1").Paused(t.Context())
		next := reaper()
		return err == nil && !paused && next != "" && next != first
	}, 20*time.Second, 20*time.Millisecond, "another reaper does what the first was told")
	mu.Lock()
	assert.Contains(t, strings.Join(told, "\n"), "has ended before its time")
	mu.Unlock()

	// One that hangs is not waited for for long.
	_, err = d.client.ContainerPause(t.Context(), reaper(), client.ContainerPauseOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	left, err := leftovers(t.Context(), d.client, s.run, true)
	require.NoError(t, err)
	assert.Empty(t, left)
}
