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

// Member is a node of the run with its agent, into which faults are injected. The reaper undoes faults that have
// expired, even if the harness hangs or has been killed.
type Member struct {
	Spec  plan.Spec
	Node  Node
	Agent *Agent // nil if the run injects no faults

	image Image

	mu         sync.Mutex
	oomKilled  bool // one of its processes was OOM-killed
	starts     int  // after the first one
	downFaults int  // faults that keep it down now
}

// networkNode returns the node that owns the member's network: its agent, if it has one.
func (m *Member) networkNode() Node {
	if m.Agent != nil {
		return m.Agent.node
	}
	return m.Node
}

// Addresses returns the node's addresses on the run's networks, the main network first.
func (m *Member) Addresses(ctx context.Context) ([]netip.Addr, error) {
	state, err := m.networkNode().State(ctx)
	return state.Addresses, err
}

// workers returns the ids of the node's worker processes: those with the title of its spec, without the master.
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

// Processes returns the sorted ids of the node's worker processes.
func (m *Member) Processes(ctx context.Context) ([]string, error) {
	ids, err := m.workers(ctx)
	slices.Sort(ids)
	return ids, err
}

// runSidecar runs an lbproof command next to the node. A non-zero exit status is an error with its output.
func (m *Member) runSidecar(ctx context.Context, c Command) error {
	c.RunLbproof = true
	output, err := m.Node.Run(ctx, c)
	if err == nil && output.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(output.Text))
	}
	return err
}

// KillWorker kills the node's youngest worker process.
func (m *Member) KillWorker(ctx context.Context) error {
	argv := []string{"kill-process", "--title", m.Spec.WorkerTitle}
	return m.runSidecar(ctx, Command{Argv: argv, SharePIDs: true, Capabilities: []string{"KILL"}})
}

// Write replaces files, as Node.Write does.
func (m *Member) Write(ctx context.Context, files ...model.File) error {
	return m.Node.Write(ctx, files...)
}

// Signal sends a signal to the node's first process and does not wait for its effect.
func (m *Member) Signal(ctx context.Context, signal string) error { return m.Node.Signal(ctx, signal) }

// IsRunning reports whether the node's first process is running.
func (m *Member) IsRunning(ctx context.Context) (bool, error) {
	state, err := m.Node.State(ctx)
	return state.Running, err
}

// scheduleUndo tells the reaper to undo a fault after u.After, unless revoke is called first. 0 means never.
func (m *Member) scheduleUndo(u Undo) (revoke func()) {
	if u.After == 0 {
		return func() {}
	}
	return m.Node.ScheduleUndo(u)
}

// Kill ends the node's processes with a signal and returns when they have ended. The node stays down, even if it
// restarts automatically otherwise, until start is called or, after expires (0: never), the reaper starts it. Its files
// are kept. start is nil only if nothing was done.
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
		return nil, err // the reaper undoes a partial effect
	}
	released := sync.OnceFunc(func() { revoke(); m.addDownFaults(-1) })
	start = func(ctx context.Context) error {
		if err := m.Node.Restart(ctx); err != nil {
			return err
		}
		released()
		return m.waitFor(ctx, func(s State) bool { return s.Running })
	}
	return start, m.waitFor(ctx, func(s State) bool { // or has already been restarted
		return !s.Running || !s.Started.Equal(before.Started)
	})
}

// addDownFaults changes the number of faults that keep the node down. While there are any, Watch does not report it.
func (m *Member) addDownFaults(more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.downFaults += more
}

// isDownByFault reports whether a fault keeps the node down now.
func (m *Member) isDownByFault() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.downFaults > 0
}

// waitFor returns when the node's state satisfies a condition.
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

// Pause freezes every process of the node until resume is called or, after expires (0: never), the reaper resumes them.
func (m *Member) Pause(ctx context.Context, expires time.Duration) (resume func(context.Context) error, err error) {
	revoke := m.scheduleUndo(Undo{Kind: Unfreeze, After: expires})
	if err := m.Node.Freeze(ctx, true); err != nil {
		return nil, err // the reaper undoes a partial effect
	}
	return func(ctx context.Context) error {
		if err := m.Node.Freeze(ctx, false); err != nil {
			return err
		}
		revoke()
		return nil
	}, nil
}

// IsPaused reports whether the node's processes are frozen now.
func (m *Member) IsPaused(ctx context.Context) (bool, error) {
	state, err := m.Node.State(ctx)
	return state.Frozen, err
}

// LimitCPU changes the node's CPU limit. restore brings back the previous limit and returns the one that it replaces;
// the reaper does so after expires (0: never).
func (m *Member) LimitCPU(
	ctx context.Context, cores float64, expires time.Duration,
) (restore func(context.Context) (was float64, err error), err error) {
	before, err := m.Node.State(ctx)
	if err != nil {
		return nil, err
	}
	revoke := m.scheduleUndo(Undo{Kind: RestoreLimit, Cores: before.Cores, After: expires})
	if err := m.Node.LimitCPU(ctx, cores); err != nil {
		return nil, err // the reaper undoes a partial effect
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

// ApplyRule applies a rule in the node's network. It expires after r.ExpiresAfter, unless heal is called first. heal
// returns the number of packets or connections affected.
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

// Probe polls another node from this one's network.
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

// Call sends a request to the node's control port and returns the response.
func (m *Member) Call(ctx context.Context, path string, body []byte) ([]byte, error) {
	if m.Agent == nil {
		return nil, m.noAgentError()
	}
	_, w, err := m.Agent.do(ctx, agent.Request{Call: &agent.Call{Port: m.Spec.ControlPort, Path: path, Body: body}})
	return w.Body, err
}

func (m *Member) noAgentError() error {
	return fmt.Errorf("node %s: no agent, so no fault can be injected", m.Spec.Name)
}

// nodeRecord returns the node's state so far.
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
