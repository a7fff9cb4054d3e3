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

// Setup configures the rig of one run.
type Setup struct {
	Run         string
	Specs       []plan.Spec // the networks cover their addresses
	ClientCount int         // client addresses besides the worker's own
	Bounds      map[plan.Role]plan.Bound
	// Agents gives every node an agent that owns its network, so that faults can be injected there.
	Agents bool
	// LoopbackServices are also reachable on the balancer's loopback address. Needs Agents.
	LoopbackServices []plan.Spec
	// OnAttempts receives attempts to connect to a backend; may be nil. Needs Agents.
	OnAttempts func(node string, all []agent.Attempt)
}

// Rig holds the nodes of one run, on any runtime.
type Rig struct {
	// Key authenticates to the control ports of the run's nodes and to the gateways of its agents.
	Key string

	runtime Runtime
	stack   Stack
	setup   Setup

	mu      sync.Mutex
	members map[string]*Member // by name
}

// Open creates the reaper and the networks of a run. The caller must Close the rig.
func Open(ctx context.Context, on Runtime, setup Setup) (*Rig, error) {
	addresses, err := configuredAddresses(setup.Specs)
	if err != nil {
		return nil, err
	}
	return open(ctx, on, setup, RunConfig{
		Run: setup.Run, Addresses: addresses, ClientCount: setup.ClientCount, Bounds: setup.Bounds,
	})
}

func open(ctx context.Context, on Runtime, setup Setup, config RunConfig) (*Rig, error) {
	opened, err := on.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	return &Rig{Key: rand.Text(), runtime: on, stack: opened, setup: setup, members: map[string]*Member{}}, nil
}

// configuredAddresses returns the distinct addresses of nodes, in the order of the nodes.
func configuredAddresses(specs []plan.Spec) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, spec := range specs {
		if spec.Address == "" {
			continue
		}
		at, err := netip.ParseAddr(spec.Address)
		if err != nil || !at.Is4() {
			return nil, errors.Join(fmt.Errorf("%s: address %s is not IPv4", spec.Name, spec.Address), err)
		}
		if !slices.Contains(addresses, at) {
			addresses = append(addresses, at)
		}
	}
	return addresses, nil
}

// Close removes everything that the run created, even after the run's context has ended.
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

// ClientNetwork is the network of client addresses; invalid if the run has none.
func (r *Rig) ClientNetwork() netip.Prefix { return r.stack.ClientNetwork() }

// Start starts a node and returns once its process runs; it does not wait until the node serves.
func (r *Rig) Start(ctx context.Context, spec plan.Spec, files []model.File) error {
	_, err := r.start(ctx, Start{Spec: spec, Files: files, Privileges: PrivilegesOf(spec.Role)})
	return err
}

// StartAttached starts a node like Start and returns its standard streams.
func (r *Rig) StartAttached(ctx context.Context, spec plan.Spec) (*Streams, error) {
	privileges := PrivilegesOf(spec.Role)
	if r.ClientNetwork().IsValid() {
		// The route that makes client addresses local needs the capability, which the engine gives to root only.
		privileges = privileges.WithCapabilities("NET_ADMIN")
		spec.User = "0"
	}
	m, err := r.start(ctx, Start{Spec: spec, Privileges: privileges, AttachStreams: true})
	if err != nil {
		return nil, err
	}
	return m.Node.Streams(), nil
}

// start starts a node in the network of another node, of its agent, or in its own.
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
		s.Volumes = []string{plan.LedgerDir} // outlives the process; it writes nowhere else
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

// placementOf returns the networks and names of a node that has its own network.
func placementOf(spec plan.Spec) *Placement {
	balances := spec.Role == plan.Balancer || spec.Role == plan.Peer
	return &Placement{Address: spec.Address, Hosts: spec.Hosts(), AllNetworks: balances}
}

// launch starts a node. Only backends and agents get the run's key: no other node sees it.
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

// Member returns a started node of the run by its name.
func (r *Rig) Member(name string) (*Member, error) {
	if m := r.find(name); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("node %s: not part of this run", name)
}

func (r *Rig) find(name string) *Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members[name]
}

// names returns the sorted names of the run's nodes.
func (r *Rig) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.members))
}

// RefusedError means that the balancer itself refuses its configuration.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// TestConfig runs the balancer's own config test, on a node without a network that resolves every upstream host. A
// refusal is a *RefusedError that names the user's file and line.
func (r *Rig) TestConfig(ctx context.Context, spec plan.Spec, files []model.File, hosts []string) error {
	checked, err := r.runIsolated(ctx, isolatedNode{spec, files, hosts}, spec.ConfigTest)
	if err != nil {
		return fmt.Errorf("test the configuration: %w", err)
	}
	if checked.ExitCode == 0 {
		return nil
	}
	return &RefusedError{Text: refusalText(spec, files, checked.Text)}
}

// refusalText formats the output of a config test, with the user's file names instead of paths in the container.
func refusalText(spec plan.Spec, files []model.File, output string) string {
	output = strings.TrimSpace(output)
	pos := model.Pos{}
	if len(files) > 0 {
		pos.File = files[0].Name
	}
	for at, name := range spec.Files {
		if _, after, ok := strings.Cut(output, at+":"); ok {
			_, _ = fmt.Sscanf(after, "%d", &pos.Line)
			pos.File = name
		}
		output = strings.ReplaceAll(output, at, name)
	}
	return fmt.Sprintf("%s: refused by %s:\n%s", pos, strings.Join(spec.ConfigTest, " "), output)
}

// Exec runs a command in a node and returns what it printed.
func (r *Rig) Exec(ctx context.Context, name string, command []string) (string, error) {
	output, err := r.find(name).Node.Run(ctx, Command{Argv: command})
	if err != nil {
		return "", fmt.Errorf("run %s in %s: %w", command[0], name, err)
	}
	if output.ExitCode != 0 {
		return "", fmt.Errorf("run %s in %s: exit status %d: %s",
			strings.Join(command, " "), name, output.ExitCode, output.Text)
	}
	return strings.TrimSpace(output.Text), nil
}

// VerifyConfig verifies that a node runs the files of the plan: they were written before its process started and have
// not changed since, and the process was started once, with the plan's command. It returns the digest of the main file.
func (r *Rig) VerifyConfig(ctx context.Context, spec plan.Spec, files []model.File) (digest string, err error) {
	m := r.find(spec.Name)
	for at, name := range spec.Files {
		i := slices.IndexFunc(files, func(f model.File) bool { return f.Name == name })
		content, err := readFile(ctx, m.Node, at)
		if err != nil {
			return "", fmt.Errorf("verify the configuration of %s: %w", spec.Name, err)
		}
		if got := model.Digest(content); i < 0 || got != files[i].SHA256 {
			return "", fmt.Errorf("verify the configuration of %s: %s differs from %s", spec.Name, at, name)
		}
		if i == 0 {
			digest = files[i].SHA256
		}
	}
	state, err := m.Node.State(ctx)
	if err != nil {
		return "", fmt.Errorf("verify the configuration of %s: %w", spec.Name, err)
	}
	if !state.Running || state.Restarts > 0 {
		return "", m.exitError(ctx, state)
	}
	if !slices.Equal(state.Argv, spec.Command) {
		return "", fmt.Errorf("verify the configuration of %s: it runs %q instead of %q",
			spec.Name, state.Argv, spec.Command)
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

// CountWorkers counts the node's worker processes; it waits up to two seconds for the expected number.
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

// Address returns a node's address on the run's network.
func (r *Rig) Address(ctx context.Context, name string) (string, error) {
	all, err := r.find(name).Addresses(ctx)
	if err != nil {
		return "", fmt.Errorf("address of %s: %w", name, err)
	}
	if len(all) == 0 {
		return "", fmt.Errorf("address of %s: it is not on the run's network", name)
	}
	return all[0].String(), nil
}

// RouteClients routes client addresses from a node through the worker. Otherwise the node would send an ARP request for
// each address, and the kernel's neighbour table has room for about a thousand entries per machine.
func (r *Rig) RouteClients(ctx context.Context, name, worker string) error {
	via, err := r.Address(ctx, worker)
	if err != nil {
		return err
	}
	argv := []string{"add-route", "--to", r.ClientNetwork().String(), "--via", via}
	if err := r.find(name).runSidecar(ctx, Command{Argv: argv, Capabilities: []string{"NET_ADMIN"}}); err != nil {
		return fmt.Errorf("add a route to the client addresses in %s: %w", name, err)
	}
	return nil
}

// NodeRecords returns the state of every node so far.
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
