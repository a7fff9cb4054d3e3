package stack

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestRefusalNamesTheUsersFile(t *testing.T) {
	spec := plan.Spec{ConfigTest: []string{"nginx", "-t"}, Files: map[string]string{"/etc/nginx/nginx.conf": "deploy/lb.conf"}}
	files := []model.File{{Name: "deploy/lb.conf"}}
	f := func(output, want string) {
		t.Helper()
		assert.Equal(t, want, refusalText(spec, files, output))
	}
	f("[emerg] no such thing in /etc/nginx/nginx.conf:12\n", "deploy/lb.conf:12: refused by nginx -t:\n[emerg] no such thing in deploy/lb.conf:12")
	f("[emerg] getpwnam failed", "deploy/lb.conf: refused by nginx -t:\n[emerg] getpwnam failed")
}

func TestTail(t *testing.T) {
	assert.Equal(t, "b\nc", tail("a\nb\nc\n", 2))
	assert.Equal(t, "a", tail("a", 2))
}

// Warnings and errors name the user's file and line; other log lines are left out.
func TestStartupMessages(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "lb.conf", "/etc/haproxy/haproxy.cfg": "lb.cfg"}}
	patterns, err := compilePatterns(model.LogPatterns{Warning: `\[(emerg|ALERT|WARNING)\]|\bERR\b`, NoServer: "is DOWN, reason"})
	require.NoError(t, err)
	f := func(log string, want ...model.StartupMessage) {
		t.Helper()
		assert.Equal(t, want, patterns.startupMessages(spec, log, false))
	}
	f("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n")
	f("2026/11/21 [emerg] 1#1: unknown directive \"x\" in /etc/nginx/nginx.conf:7\n",
		model.StartupMessage{Pos: model.Pos{File: "lb.conf", Line: 7}, Text: `2026/11/21 [emerg] 1#1: unknown directive "x" in lb.conf:7`})
	f("[NOTICE] (1) : hello\n[ALERT] (1) : config : parsing [/etc/haproxy/haproxy.cfg:48] : bad\n[WARNING] (1) : Server b/s is DOWN, reason: x\n",
		model.StartupMessage{Pos: model.Pos{File: "lb.cfg", Line: 48}, Text: "[ALERT] (1) : config : parsing [lb.cfg:48] : bad"})
	f("\x1b[90m2026\x1b[0m \x1b[31mERR\x1b[0m no\n", model.StartupMessage{Text: "2026 ERR no"})
	assert.Equal(t, []model.StartupMessage{{Text: "just this"}}, patterns.startupMessages(spec, "just this\n", true))
	assert.Equal(t, "HAProxy version 2.6.12 2026/10/17", VersionLine("\nHAProxy version 2.6.12   2026/10/17\nStatus: x\n"))
}

func TestConfiguredAddresses(t *testing.T) {
	addresses, err := configuredAddresses([]plan.Spec{{Address: "10.0.1.9"}, {Name: "b1"}, {Address: "10.0.1.1"}, {Address: "10.0.1.9"}})
	require.NoError(t, err)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.1.9"), netip.MustParseAddr("10.0.1.1")}, addresses)
	_, err = configuredAddresses([]plan.Spec{{Name: "x", Address: "::1"}})
	assert.ErrorContains(t, err, "x: address ::1 is not IPv4")
}

// fakeRuntime is a runtime and its stack that record what is started and run nothing.
type fakeRuntime struct {
	started []Start
	events  chan Event
	closed  bool
}

func (m *fakeRuntime) Host(context.Context) (Host, error) { return Host{}, nil }

func (m *fakeRuntime) Image(_ context.Context, image plan.Image) (Image, error) {
	return Image{Ref: image.Ref}, nil
}

func (m *fakeRuntime) Open(context.Context, RunConfig) (Stack, error) { return m, nil }

func (m *fakeRuntime) ClientNetwork() netip.Prefix { return netip.MustParsePrefix("198.18.8.0/21") }

func (m *fakeRuntime) Start(_ context.Context, s Start) (Node, error) {
	m.started = append(m.started, s)
	n := &fakeNode{running: true, started: time.Unix(1, 0)}
	if s.Spec.Role == plan.Agent {
		requests, in := io.Pipe()
		n.streams = NewStreams(in, func(stdout, _ io.Writer) error {
			err := json.NewEncoder(stdout).Encode(agent.Response{}) // ready
			_, _ = io.Copy(io.Discard, requests)
			return err
		})
	}
	return n, nil
}

func (m *fakeRuntime) Watch(ctx context.Context, tell func(Event)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-m.events:
			tell(e)
		}
	}
}

func (m *fakeRuntime) Close() error { m.closed = true; return nil }

// fakeNode is a node that has a state and nothing else.
type fakeNode struct {
	Node
	streams *Streams

	mu      sync.Mutex
	running bool
	started time.Time
	undos   []Undo
	revoked int
}

func (n *fakeNode) Streams() *Streams { return n.streams }

func (n *fakeNode) State(context.Context) (State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return State{Running: n.running, Started: n.started, ExitCode: 137}, nil
}

func (n *fakeNode) Signal(context.Context, string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running = false
	return nil
}

func (n *fakeNode) Restart(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running, n.started = true, n.started.Add(time.Second)
	return nil
}

func (n *fakeNode) ScheduleUndo(u Undo) (revoke func()) {
	n.undos = append(n.undos, u)
	return func() { n.revoked++ }
}

func (n *fakeNode) Logs(_ context.Context, l LogOptions) error {
	_, err := io.WriteString(l.Stdout, "last line\n")
	return err
}

func rigOf(t *testing.T, m *fakeRuntime, setup Setup) *Rig {
	t.Helper()
	r, err := Open(t.Context(), m, setup)
	require.NoError(t, err)
	return r
}

// A node joins the network of its agent, which is placed where the node would be. Only backends and agents get the
// run's key.
func TestNodesHaveAgents(t *testing.T) {
	m := &fakeRuntime{}
	r := rigOf(t, m, Setup{Run: "one", Agents: true, LoopbackServices: []plan.Spec{{Name: "redis", Ports: []int{6379}}}})
	balancer := plan.Spec{Name: "nginx", Role: plan.Balancer, Address: "10.0.0.1", SharedDirs: []string{"/run/x"}, ContainerHostname: "web"}
	require.NoError(t, r.Start(t.Context(), balancer, nil))
	require.NoError(t, r.Start(t.Context(), plan.Spec{Name: "b1", Role: plan.Backend, Ports: []int{8000, 8443}}, nil))
	require.NoError(t, r.Start(t.Context(), plan.Spec{Name: "exporter", Role: plan.Monitor, NetworkOf: "nginx"}, nil))
	require.Len(t, m.started, 5)
	nginxAgent, nginx, b1Agent, b1, exporter := m.started[0], m.started[1], m.started[2], m.started[3], m.started[4]
	assert.Equal(t, &Placement{Address: "10.0.0.1", Hosts: balancer.Hosts(), AllNetworks: true}, nginxAgent.Placement)
	assert.Equal(t, []string{"/lbproof", "agent", "--local", "redis=6379", "--shared", "/run/x"}, nginxAgent.Spec.Command)
	assert.Equal(t, []string{"NET_ADMIN", "DAC_OVERRIDE"}, nginxAgent.Privileges.Capabilities)
	assert.Equal(t, "web", nginxAgent.Spec.ContainerHostname)
	assert.Equal(t, []string{"/lbproof", "agent", "--ports", "8000,8443"}, b1Agent.Spec.Command)
	assert.Equal(t, []string{"NET_ADMIN"}, b1Agent.Privileges.Capabilities)
	for _, s := range []Start{nginx, b1, exporter} {
		assert.Nil(t, s.Placement, s.Spec.Name)
		assert.NotNil(t, s.NetworkOf, s.Spec.Name)
	}
	assert.Same(t, nginx.NetworkOf, exporter.NetworkOf)
	assert.NotSame(t, nginx.NetworkOf, b1.NetworkOf)
	for _, s := range m.started {
		_, has := s.Spec.Env[backends.KeyVariable]
		assert.Equal(t, s.Spec.Role == plan.Agent || s.Spec.Role == plan.Backend, has, s.Spec.Name)
	}
	require.NoError(t, r.Close())
	assert.True(t, m.closed)
}

// The worker owns the client addresses; only root may add them.
func TestWorkerOwnsClients(t *testing.T) {
	m := &fakeRuntime{}
	r := rigOf(t, m, Setup{Run: "one"})
	_, err := r.StartAttached(t.Context(), plan.Spec{Name: plan.WorkerName, Role: plan.Worker})
	require.NoError(t, err)
	assert.Equal(t, "0", m.started[0].Spec.User)
	assert.Equal(t, []string{"NET_ADMIN"}, m.started[0].Privileges.Capabilities)
	assert.True(t, m.started[0].AttachStreams)
}

// The watch reports a node that exits by itself, with its last log lines, but not one that a fault keeps down. The
// reaper undoes the fault unless it is undone before.
func TestWatch(t *testing.T) {
	m := &fakeRuntime{events: make(chan Event)}
	r := rigOf(t, m, Setup{Run: "one"})
	require.NoError(t, r.Start(t.Context(), plan.Spec{Name: "b1", Role: plan.Backend}, nil))
	b1, err := r.Member("b1")
	require.NoError(t, err)
	n := b1.Node.(*fakeNode)
	watched := make(chan error, 1)
	go func() { watched <- r.Watch(t.Context()) }()

	start, err := b1.Kill(t.Context(), "SIGKILL", time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []Undo{{Kind: Restart, After: time.Minute}}, n.undos)
	m.events <- Event{Node: n, Kind: Exited}
	require.NoError(t, r.CheckAllRunning(t.Context()))
	assert.Zero(t, n.revoked)
	require.NoError(t, start(t.Context()))
	require.NoError(t, start(t.Context()), "a second time does nothing")
	assert.Equal(t, 1, n.revoked)
	m.events <- Event{Node: n, Kind: Started}
	m.events <- Event{Node: &fakeNode{}, Kind: Exited} // the config test

	require.NoError(t, n.Signal(t.Context(), "SIGSEGV"))
	m.events <- Event{Node: n, Kind: Exited}
	assert.EqualError(t, <-watched, "container b1 exited: exit status 137; lbproof did not stop it; last log lines:\nlast line")
}
