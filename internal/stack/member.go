package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// Member is a node of the run and the agent beside it: what faults break. What it does to a node for a time, the
// reaper takes back when that is over, whatever has become of the harness.
type Member struct {
	Spec  plan.Spec
	Node  Node
	Agent *Agent // nil where the run breaks nothing

	image Image

	mu         sync.Mutex
	oomKilled  bool // the kernel killed one of its processes for memory
	starts     int  // since the run's own
	downFaults int  // faults that keep it down
}

// networkNode is the node whose network a member's is.
func (m *Member) networkNode() Node {
	if m.Agent != nil {
		return m.Agent.node
	}
	return m.Node
}

// Addresses are the node's own on the run's networks, that on the main one first.
func (m *Member) Addresses(ctx context.Context) ([]netip.Addr, error) {
	state, err := m.networkNode().State(ctx)
	return state.Addresses, err
}

// workers are the ids of a node's processes whose title begins as its spec says, the first left out where it is a
// master.
func (m *Member) workers(ctx context.Context) ([]string, error) {
	all, err := m.Node.Processes(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", m.Spec.Name, err)
	}
	var ids []string
	for _, p := range all {
		if strings.HasPrefix(p.Title, m.Spec.WorkerTitle) && !strings.Contains(p.Title, "shutting down") {
			ids = append(ids, p.ID)
		}
	}
	if m.Spec.HasMaster && len(ids) > 0 {
		ids = ids[1:]
	}
	return ids, nil
}

// Processes are the ids of the node's workers, in order.
func (m *Member) Processes(ctx context.Context) ([]string, error) {
	ids, err := m.workers(ctx)
	slices.Sort(ids)
	return ids, err
}

// runSidecar runs a command of lbproof's own beside the node, and has no more to say than whether it did what it should.
func (m *Member) runSidecar(ctx context.Context, c Command) error {
	c.RunLbproof = true
	did, err := m.Node.Run(ctx, c)
	if err == nil && did.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(did.Text))
	}
	return err
}

// KillWorker kills the node's last process whose title begins as its spec says.
func (m *Member) KillWorker(ctx context.Context) error {
	argv := []string{"slay", "--title", m.Spec.WorkerTitle}
	return m.runSidecar(ctx, Command{Argv: argv, SharePIDs: true, Capabilities: []string{"KILL"}})
}

// Write puts files in place, as Node.Write does.
func (m *Member) Write(ctx context.Context, files ...model.File) error {
	return m.Node.Write(ctx, files...)
}

// Signal tells the node's first process of something, and does not wait for what comes of it.
func (m *Member) Signal(ctx context.Context, signal string) error { return m.Node.Signal(ctx, signal) }

// IsRunning says whether the node's process runs.
func (m *Member) IsRunning(ctx context.Context) (bool, error) {
	state, err := m.Node.State(ctx)
	return state.Running, err
}

// scheduleUndo has the reaper undo something, unless revoke is called before its time is up. Without a time nobody undoes
// it.
func (m *Member) scheduleUndo(u Undo) (revoke func()) {
	if u.After == 0 {
		return func() {}
	}
	return m.Node.ScheduleUndo(u)
}

// Kill ends the node's processes with a signal and returns when they have ended. A node that restarts by itself does
// not do so now: start brings it back, with its files as they were, and so does the reaper after a time; 0 is never.
// It is nil only where nothing was done.
func (m *Member) Kill(
	ctx context.Context, signal string, expires time.Duration,
) (start func(context.Context) error, err error) {
	before, err := m.Node.State(ctx)
	if err != nil {
		return nil, err
	}
	revoke := m.scheduleUndo(Undo{Kind: Restart, After: expires})
	m.addDownFaults(+1)
	if err := m.Node.Signal(ctx, signal); err != nil {
		m.addDownFaults(-1)
		return nil, err // and what came of it, the reaper undoes
	}
	released := sync.OnceFunc(func() { revoke(); m.addDownFaults(-1) })
	start = func(ctx context.Context) error {
		if err := m.Node.Restart(ctx); err != nil {
			return err
		}
		released()
		return m.waitFor(ctx, func(s State) bool { return s.Running })
	}
	return start, m.waitFor(ctx, func(s State) bool { // or has been brought back meanwhile
		return !s.Running || !s.Started.Equal(before.Started)
	})
}

// addDownFaults counts the faults that hold the node down: meanwhile nobody misses it.
func (m *Member) addDownFaults(more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.downFaults += more
}

// isDownByFault says whether a fault keeps the node down now.
func (m *Member) isDownByFault() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.downFaults > 0
}

// waitFor returns when the node is in a state.
func (m *Member) waitFor(ctx context.Context, in func(State) bool) error {
	for {
		state, err := m.Node.State(ctx)
		if err != nil || in(state) {
			return err
		}
		if !sleep.For(ctx, 2*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
}

// Pause freezes every process of the node. resume lets them go on, and so does the reaper after a time; 0 is never.
func (m *Member) Pause(ctx context.Context, expires time.Duration) (resume func(context.Context) error, err error) {
	revoke := m.scheduleUndo(Undo{Kind: Unfreeze, After: expires})
	if err := m.Node.Freeze(ctx, true); err != nil {
		return nil, err // and what came of it, the reaper undoes
	}
	return func(ctx context.Context) error {
		if err := m.Node.Freeze(ctx, false); err != nil {
			return err
		}
		revoke()
		return nil
	}, nil
}

// IsPaused says whether the node's processes are frozen now.
func (m *Member) IsPaused(ctx context.Context) (bool, error) {
	state, err := m.Node.State(ctx)
	return state.Frozen, err
}

// LimitCPU gives the node another processor limit, cores. restore gives it back the one from before, and says which one
// it had until then; so does the reaper after a time; 0 is never.
func (m *Member) LimitCPU(
	ctx context.Context, cores float64, expires time.Duration,
) (restore func(context.Context) (was float64, err error), err error) {
	before, err := m.Node.State(ctx)
	if err != nil {
		return nil, err
	}
	revoke := m.scheduleUndo(Undo{Kind: RestoreLimit, Cores: before.Cores, After: expires})
	if err := m.Node.LimitCPU(ctx, cores); err != nil {
		return nil, err // and what came of it, the reaper undoes
	}
	return func(ctx context.Context) (float64, error) {
		now, err := m.Node.State(ctx)
		if err != nil {
			return 0, err
		}
		if err := m.Node.LimitCPU(ctx, before.Cores); err != nil {
			return now.Cores, err
		}
		revoke()
		return now.Cores, nil
	}, nil
}

// ApplyRule puts a rule in force in the node's network. The rule takes itself back after r.For, if nobody does before.
// heal says how many packets or connections it touched.
func (m *Member) ApplyRule(
	ctx context.Context, r agent.Rule,
) (heal func(context.Context) (touched int, err error), err error) {
	if m.Agent == nil {
		return nil, m.noAgentError()
	}
	id, _, err := m.Agent.do(ctx, agent.Request{Rule: &r})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) {
		_, w, err := m.Agent.do(ctx, agent.Request{Undo: id})
		return w.Affected, err
	}, nil
}

// Probe looks at another node from this one.
func (m *Member) Probe(ctx context.Context, l agent.Poll) (agent.Observation, error) {
	if m.Agent == nil {
		return agent.Observation{}, m.noAgentError()
	}
	_, w, err := m.Agent.do(ctx, agent.Request{Poll: &l})
	if err != nil {
		return agent.Observation{}, err
	}
	return *w.Observed, nil
}

// Call asks the node's own control port for something.
func (m *Member) Call(ctx context.Context, path string, body []byte) ([]byte, error) {
	if m.Agent == nil {
		return nil, m.noAgentError()
	}
	_, w, err := m.Agent.do(ctx, agent.Request{Call: &agent.Call{Port: m.Spec.ControlPort, Path: path, Body: body}})
	return w.Body, err
}

func (m *Member) noAgentError() error {
	return fmt.Errorf("the run has no node %s that can be broken", m.Spec.Name)
}

// nodeRecord says how the node has fared so far.
func (m *Member) nodeRecord(ctx context.Context) (history.NodeRecord, error) {
	state, err := m.Node.State(ctx)
	if err != nil {
		return history.NodeRecord{}, err
	}
	own, err := m.Addresses(ctx)
	if err != nil {
		return history.NodeRecord{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	one := history.NodeRecord{
		Name: m.Spec.Name, Role: m.Spec.Role, CPUs: m.Spec.CPUs, Memory: m.Spec.Memory,
		Image: m.image.Ref, Source: m.image.Source, ImageID: state.ImageID,
		Restarts: state.Restarts, OOMKilled: m.oomKilled || state.OOMKilled,
	}
	if len(own) > 0 {
		one.Address = own[0].String()
	}
	if !state.Running && !state.Restarting {
		one.Exit = fmt.Sprintf("exit status %d", state.ExitCode)
	}
	return one, nil
}
