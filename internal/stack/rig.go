package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// Setup is what a run asks of its rig.
type Setup struct {
	Run         string
	Specs       []plan.Spec // whose addresses the networks have
	ClientCount int         // addresses that the traffic may come from beside the worker's own
	Bounds      map[plan.Role]plan.Bound
	// Agents gives every node that is started an agent in whose network it runs, so that faults can be put on it.
	Agents bool
	// LoopbackServices are nodes whose services the balancer finds on its own loopback address too. Only with Agents.
	LoopbackServices []plan.Spec
	// OnAttempts is told who tried to connect to a backend; nil where nobody wants to know. Only with Agents.
	OnAttempts func(node string, all []agent.Attempt)
}

// Rig is the nodes of one run, on whatever runtime.
type Rig struct {
	// Key opens the control ports of the run's own nodes, and the gateways of its agents.
	Key string

	runtime Runtime
	stack   Stack
	setup   Setup

	mu      sync.Mutex
	members map[string]*Member // by name
}

// Open makes what a run needs before it has nodes. The caller must Close what Open returns.
func Open(ctx context.Context, on Runtime, setup Setup) (*Rig, error) {
	taken, err := configuredAddresses(setup.Specs)
	if err != nil {
		return nil, err
	}
	return open(ctx, on, setup, RunConfig{Run: setup.Run, Addresses: taken, ClientCount: setup.ClientCount, Bounds: setup.Bounds})
}

func open(ctx context.Context, on Runtime, setup Setup, w RunConfig) (*Rig, error) {
	made, err := on.Open(ctx, w)
	if err != nil {
		return nil, err
	}
	return &Rig{Key: rand.Text(), runtime: on, stack: made, setup: setup, members: map[string]*Member{}}, nil
}

// configuredAddresses are the addresses that the configuration names, without repeats, those of the first node first.
func configuredAddresses(specs []plan.Spec) ([]netip.Addr, error) {
	var taken []netip.Addr
	for _, spec := range specs {
		if spec.Address == "" {
			continue
		}
		at, err := netip.ParseAddr(spec.Address)
		if err != nil || !at.Is4() {
			return nil, errors.Join(fmt.Errorf("make a network for %s: %s is no IPv4 address", spec.Name, spec.Address), err)
		}
		if !slices.Contains(taken, at) {
			taken = append(taken, at)
		}
	}
	return taken, nil
}

// Close removes everything that the run made, also where the context of the run has ended.
func (r *Rig) Close() error {
	err := r.stack.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.Agent != nil {
			m.Agent.close()
		}
	}
	return err
}

// ClientNetwork is the network of client addresses; invalid where the run has none.
func (r *Rig) ClientNetwork() netip.Prefix { return r.stack.ClientNetwork() }

// Start brings up a node and returns when its process runs. It does not wait until the node serves.
func (r *Rig) Start(ctx context.Context, spec plan.Spec, files []model.File) error {
	_, err := r.start(ctx, Start{Spec: spec, Files: files, Privileges: PrivilegesOf(spec.Role)})
	return err
}

// StartAttached brings up a node like Start, with its standard streams in the caller's hands.
func (r *Rig) StartAttached(ctx context.Context, spec plan.Spec) (*Streams, error) {
	rights := PrivilegesOf(spec.Role)
	if r.ClientNetwork().IsValid() {
		rights = rights.WithCapabilities("NET_ADMIN") // for the route that makes the addresses its own, and which only root is given
		spec.User = "0"
	}
	m, err := r.start(ctx, Start{Spec: spec, Privileges: rights, AttachStreams: true})
	if err != nil {
		return nil, err
	}
	return m.Node.Streams(), nil
}

// start brings up a node in its place: in the network of another, of its agent, or in its own.
func (r *Rig) start(ctx context.Context, s Start) (m *Member, err error) {
	m = &Member{Spec: s.Spec}
	if s.Image, err = r.runtime.Image(ctx, s.Spec.Image); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Spec.Name, err)
	}
	switch host := r.find(s.Spec.NetworkOf); {
	case host != nil:
		s.NetworkOf = host.networkNode()
	case r.setup.Agents:
		if m.Agent, err = r.startAgent(ctx, s.Spec); err != nil {
			return nil, err
		}
		s.NetworkOf = m.Agent.node
	default:
		s.Placement = placementOf(s.Spec)
	}
	if s.Spec.Role == plan.Backend {
		s.Volumes = []string{plan.LedgerDir} // which outlives the process, and is the only place that it writes to
	}
	m.image = s.Image
	if m.Node, err = r.launch(ctx, s); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.members[s.Spec.Name] = m
	return m, nil
}

// placementOf is where a node stands that has a network of its own.
func placementOf(spec plan.Spec) *Placement {
	balances := spec.Role == plan.Balancer || spec.Role == plan.Peer
	return &Placement{Address: spec.Address, Hosts: spec.Hosts(), AllNetworks: balances}
}

// launch starts a node with the key of the run where the node has doors that the key opens. Nobody else of the run
// sees it.
func (r *Rig) launch(ctx context.Context, s Start) (Node, error) {
	if s.Spec.Role == plan.Backend || s.Spec.Role == plan.Agent {
		env := map[string]string{backends.KeyVariable: r.Key}
		maps.Copy(env, s.Spec.Env)
		s.Spec.Env = env
	}
	n, err := r.stack.Start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Spec.Name, err)
	}
	return n, nil
}

// Member gives a started node by its name. No name is that of anything that is not the run's own.
func (r *Rig) Member(name string) (*Member, error) {
	if m := r.find(name); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("the run has no node %s", name)
}

func (r *Rig) find(name string) *Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[name]
}

// names are the nodes of the run, sorted.
func (r *Rig) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.members))
}

// RefusedError is a balancer's own refusal of its configuration.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// TestConfig gives the configuration to the balancer's own checker, on a node without a network in which every upstream
// host is known. A refusal is a *RefusedError that names the user's file and line.
func (r *Rig) TestConfig(ctx context.Context, spec plan.Spec, files []model.File, hosts []string) error {
	checked, err := r.runIsolated(ctx, isolatedNode{spec, files, hosts}, spec.ConfigTest)
	if err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	if checked.ExitCode == 0 {
		return nil
	}
	return &RefusedError{Text: refusalText(spec, files, checked.Text)}
}

// refusalText names the user's file in place of the path in the container.
func refusalText(spec plan.Spec, files []model.File, said string) string {
	said = strings.TrimSpace(said)
	pos := model.Pos{}
	if len(files) > 0 {
		pos.File = files[0].Name
	}
	for at, name := range spec.Files {
		if _, after, ok := strings.Cut(said, at+":"); ok {
			_, _ = fmt.Sscanf(after, "%d", &pos.Line)
			pos.File = name
		}
		said = strings.ReplaceAll(said, at, name)
	}
	return fmt.Sprintf("%s: refused by %s:\n%s", pos, strings.Join(spec.ConfigTest, " "), said)
}

// Exec runs a command in a node and returns what it printed.
func (r *Rig) Exec(ctx context.Context, name string, command []string) (string, error) {
	did, err := r.find(name).Node.Run(ctx, Command{Argv: command})
	if err != nil {
		return "", fmt.Errorf("run %s in %s: %w", command[0], name, err)
	}
	if did.ExitCode != 0 {
		return "", fmt.Errorf("run %s in %s: exit status %d: %s", strings.Join(command, " "), name, did.ExitCode, did.Text)
	}
	return strings.TrimSpace(did.Text), nil
}

// VerifyConfig shows that a node's process runs the files it was given: they were put there before it started, they still
// are what they were, and it was started once, with its plan's command. It returns the digest of the main file.
func (r *Rig) VerifyConfig(ctx context.Context, spec plan.Spec, files []model.File) (digest string, err error) {
	m := r.find(spec.Name)
	for at, name := range spec.Files {
		i := slices.IndexFunc(files, func(f model.File) bool { return f.Name == name })
		content, err := readFile(ctx, m.Node, at)
		if err != nil {
			return "", fmt.Errorf("prove the configuration of %s: %w", spec.Name, err)
		}
		if got := model.Digest(content); i < 0 || got != files[i].SHA256 {
			return "", fmt.Errorf("prove the configuration of %s: %s is not the file %s that it was given", spec.Name, at, name)
		}
		if i == 0 {
			digest = files[i].SHA256
		}
	}
	state, err := m.Node.State(ctx)
	if err != nil {
		return "", fmt.Errorf("prove the configuration of %s: %w", spec.Name, err)
	}
	if !state.Running || state.Restarts > 0 {
		return "", m.exitError(ctx, state)
	}
	if !slices.Equal(state.Argv, spec.Command) {
		return "", fmt.Errorf("prove the configuration of %s: it runs %q instead of %q", spec.Name, state.Argv, spec.Command)
	}
	return digest, nil
}

func readFile(ctx context.Context, n Node, at string) ([]byte, error) {
	f, err := n.Read(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	defer f.Close()
	return io.ReadAll(f)
}

// CountWorkers counts a node's processes whose title begins as its spec says, once there are as many as expected or, if
// that never comes, after two seconds.
func (r *Rig) CountWorkers(ctx context.Context, spec plan.Spec, expected int) (int, error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		found, err := r.find(spec.Name).workers(ctx)
		if err != nil || len(found) == expected || time.Now().After(deadline) {
			return len(found), err
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return 0, context.Cause(ctx)
		}
	}
}

// Address is a node's address on the run's network.
func (r *Rig) Address(ctx context.Context, name string) (string, error) {
	all, err := r.find(name).Addresses(ctx)
	if err != nil {
		return "", fmt.Errorf("find the address of %s: %w", name, err)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("find the address of %s: it is not on the run's network", name)
	}
	return all[0].String(), nil
}

// RouteClients tells a node that client addresses are reached by way of the worker. Without it the node would ask for
// each by itself, and the kernel remembers a thousand such answers for the whole machine.
func (r *Rig) RouteClients(ctx context.Context, name, worker string) error {
	via, err := r.Address(ctx, worker)
	if err != nil {
		return err
	}
	argv := []string{"route", "--to", r.ClientNetwork().String(), "--via", via}
	if err := r.find(name).runSidecar(ctx, Command{Argv: argv, Capabilities: []string{"NET_ADMIN"}}); err != nil {
		return fmt.Errorf("route the clients' addresses from %s: %w", name, err)
	}
	return nil
}

// NodeRecords says how every node has fared so far.
func (r *Rig) NodeRecords(ctx context.Context) ([]history.NodeRecord, error) {
	var out []history.NodeRecord
	for _, name := range r.names() {
		one, err := r.find(name).nodeRecord(ctx)
		if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", name, err)
		}
		out = append(out, one)
	}
	return out, nil
}
