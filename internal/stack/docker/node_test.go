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
	"github.com/lbproof/lbproof/internal/stack"
)

// The reaper undoes faults that lbproof has not undone in time.
func TestFaultsExpire(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	spec.CPUs = 0.5
	require.NoError(t, s.Start(t.Context(), spec, files))
	const soon = 300 * time.Millisecond
	b1 := s.member(t, "b1")
	in := func(is func(stack.State) bool) func() bool {
		return func() bool { now, err := b1.Node.State(t.Context()); return err == nil && is(now) }
	}
	healed := func(is func(stack.State) bool) { // maybe already
		t.Helper()
		assert.Eventually(t, in(is), 10*time.Second, 20*time.Millisecond)
	}
	_, err := b1.Pause(t.Context(), soon)
	require.NoError(t, err)
	healed(func(now stack.State) bool { return !now.Frozen })
	lived, err := b1.Node.State(t.Context())
	require.NoError(t, err)
	_, err = b1.Kill(t.Context(), "SIGKILL", soon)
	require.NoError(t, err)
	healed(func(now stack.State) bool { return now.Running && !now.Started.Equal(lived.Started) })
	assert.InDelta(t, 0.5, lived.Cores, 0)
	_, err = b1.LimitCPU(t.Context(), 0.1, soon)
	require.NoError(t, err)
	healed(func(now stack.State) bool { return now.Cores == 0.5 })

	resume, err := b1.Pause(t.Context(), soon)
	require.NoError(t, err)
	require.NoError(t, resume(t.Context()))
	resume, err = b1.Pause(t.Context(), 0) // never undone
	require.NoError(t, err)
	assert.Never(t, in(func(now stack.State) bool { return !now.Frozen }), 600*time.Millisecond, 50*time.Millisecond, "a fault that was undone is not undone again")
	require.NoError(t, resume(t.Context()))
}

// The watch reports a node that exited before it began.
func TestExitBeforeWatch(t *testing.T) {
	s := open(t)
	spec, files := backend("b1")
	spec.AutoRestart = false
	require.NoError(t, s.Start(t.Context(), spec, files))
	_, err := s.made.engine.client.ContainerKill(t.Context(), s.node(t, "b1").id(), client.ContainerKillOptions{Signal: "SIGKILL"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.CheckRunning(t.Context(), "b1") != nil }, 5*time.Second, 20*time.Millisecond)
	watched, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	assert.ErrorContains(t, s.Watch(watched), "container b1 exited: exit status 137")
}

// Containers of others cannot be addressed.
func TestForeignContainersCannotBeNamed(t *testing.T) {
	s := open(t)
	own, err := s.made.engine.nodeImage(t.Context())
	require.NoError(t, err)
	made, err := s.made.engine.client.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config: &container.Config{Image: own.Ref, Cmd: []string{"/lbproof", "wait-ports"}},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := s.made.engine.client.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true})
		assert.NoError(t, err)
	})
	for _, name := range []string{made.ID, made.ID[:12]} {
		_, err := s.Member(name)
		assert.EqualError(t, err, "node "+name+": not part of this run")
	}
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	_, err = s.member(t, "b1").ApplyRule(t.Context(), agent.Rule{})
	assert.ErrorContains(t, err, "node b1: no agent, so no fault can be injected")
}

// A network rule expires by itself.
func TestRulesExpire(t *testing.T) {
	s := opened(t, engine(t), stack.Setup{Run: "stacktest", Agents: true})
	spec, files := backend("b1")
	spec.Ports, spec.ControlPort = []int{8000}, 7070
	spec.Command = append(spec.Command, "--ledger", plan.LedgerDir+"/arrivals")
	require.NoError(t, s.Start(t.Context(), spec, files))
	peer, _ := backend("b2")
	require.NoError(t, s.Start(t.Context(), peer, files))
	at, err := s.member(t, "b1").Addresses(t.Context())
	require.NoError(t, err)
	with, err := s.member(t, "b2").Addresses(t.Context())
	require.NoError(t, err)
	poll := func(want agent.Outcome) error {
		_, err := s.member(t, "b2").Probe(t.Context(), agent.Poll{
			Addr: netip.AddrPortFrom(at[0], 8000), Path: "/", Timeout: time.Second, Interval: 5 * time.Millisecond, GiveUpAfter: 10 * time.Second,
			Expect: agent.Expectation{Outcomes: []agent.Outcome{want}},
		})
		return err
	}
	require.NoError(t, poll(agent.Answered))
	_, err = s.member(t, "b1").ApplyRule(t.Context(), agent.Rule{Action: agent.Refuse, Peers: with, Ports: []int{8000}, ExpiresAfter: 500 * time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, poll(agent.Refused))
	require.NoError(t, poll(agent.Answered))
}

// A reaper that is killed is replaced by another one with the same pending undos, and the run is still removed.
func TestReaperIsReplaced(t *testing.T) {
	var mu sync.Mutex
	var progress []string
	d := engine(t)
	d.Progress = func(text string) { mu.Lock(); progress = append(progress, text); mu.Unlock() }
	s := openRig(t, d, stack.Setup{Run: "reaperdies"})
	spec, files := backend("b1")
	require.NoError(t, s.Start(t.Context(), spec, files))
	reaper := func() string {
		left, err := listLeftovers(t.Context(), d.client, s.made.config.Run, true)
		require.NoError(t, err)
		for _, l := range left {
			if l.isReaper {
				return l.id
			}
		}
		return ""
	}
	first := reaper()
	_, err := s.member(t, "b1").Pause(t.Context(), time.Second) // undone by the reaper only
	require.NoError(t, err)
	_, err = d.client.ContainerKill(t.Context(), first, client.ContainerKillOptions{Signal: "KILL"})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		paused, err := s.member(t, "b1").IsPaused(t.Context())
		next := reaper()
		return err == nil && !paused && next != "" && next != first
	}, 20*time.Second, 20*time.Millisecond, "the second reaper has the pending undos of the first")
	mu.Lock()
	assert.Contains(t, strings.Join(progress, "\n"), "was killed (out of memory?) and has been restarted")
	mu.Unlock()

	// Close does not wait long for one that hangs.
	_, err = d.client.ContainerPause(t.Context(), reaper(), client.ContainerPauseOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	left, err := listLeftovers(t.Context(), d.client, s.made.config.Run, true)
	require.NoError(t, err)
	assert.Empty(t, left)
}
