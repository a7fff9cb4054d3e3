package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// pod is the agent of a node, in whose network namespace the node's own container runs. A node that may be broken has one.
type pod struct {
	container testcontainers.Container
	streams   *Streams
	tell      func([]agent.Attempt)
	reading   sync.WaitGroup

	mu      sync.Mutex
	orders  *json.Encoder
	last    int
	waiting map[int]chan agent.Answer
	err     error // why there are no more answers
}

// podName is the name of a node's agent.
func podName(node string) string { return node + "-agent" }

// startPod brings up the agent of a node, which has the node's name and addresses.
func (s *Stack) startPod(ctx context.Context, spec plan.Spec) (*pod, error) {
	command := []string{"/lbproof", "agent"}
	if spec.Role == plan.Backend && len(spec.Ports) > 0 {
		var ports []string
		for _, p := range spec.Ports {
			ports = append(ports, strconv.Itoa(p))
		}
		command = append(command, "--ports", strings.Join(ports, ","))
	}
	for _, d := range s.Local {
		if spec.Role == plan.Balancer || spec.Role == plan.Peer {
			command = append(command, "--local", fmt.Sprintf("%s=%d", d.Host(), d.Ports[0]))
		}
	}
	for _, dir := range spec.Shared {
		command = append(command, "--shared", dir)
	}
	own := plan.Spec{Name: podName(spec.Name), Role: plan.Agent, Command: command}
	capable := tweak{
		config: func(c *container.Config) { c.Hostname, c.Volumes = spec.Hostname, volumes(spec.Shared) },
		host: func(h *container.HostConfig) {
			if len(spec.Shared) > 0 { // where sockets of other users' may be
				h.CapAdd = append(h.CapAdd, "DAC_OVERRIDE")
			}
		},
	}
	c, _, streams, err := s.attach(ctx, own, capable, s.joined(spec))
	if err != nil {
		return nil, err
	}
	p := &pod{container: c, streams: streams, tell: s.attempted(spec.Name), orders: json.NewEncoder(streams.In), waiting: map[int]chan agent.Answer{}}
	ready := p.expect(0)
	p.reading.Go(p.read)
	if _, err := p.await(ctx, 0, ready); err != nil {
		streams.Close()
		return nil, fmt.Errorf("start the agent of %s: %w: %s", spec.Name, err, tail(string(streams.Log.Bytes()), 3))
	}
	return p, nil
}

// volumes are directories of a container's own that another may have too.
func volumes(dirs []string) map[string]struct{} {
	all := map[string]struct{}{}
	for _, dir := range dirs {
		all[dir] = struct{}{}
	}
	return all
}

// attempted passes on who tried to connect to a node.
func (s *Stack) attempted(node string) func([]agent.Attempt) {
	return func(all []agent.Attempt) {
		if s.Attempted != nil {
			s.Attempted(node, all)
		}
	}
}

func (p *pod) expect(id int) chan agent.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(chan agent.Answer, 1)
	p.waiting[id] = c
	return c
}

// read hands answers to those who wait for them.
func (p *pod) read() {
	answers := json.NewDecoder(p.streams.Out)
	for {
		var w agent.Answer
		if err := answers.Decode(&w); err != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.err = fmt.Errorf("the agent has ended: %w", err)
			for _, c := range p.waiting {
				close(c)
			}
			p.waiting = nil
			return
		}
		if len(w.Attempts) > 0 {
			p.tell(w.Attempts)
			continue
		}
		p.mu.Lock()
		if c := p.waiting[w.ID]; c != nil {
			c <- w
			delete(p.waiting, w.ID)
		}
		p.mu.Unlock()
	}
}

func (p *pod) await(ctx context.Context, id int, c chan agent.Answer) (agent.Answer, error) {
	select {
	case <-ctx.Done():
		return agent.Answer{}, context.Cause(ctx)
	case w, ok := <-c:
		switch {
		case !ok:
			return w, p.err
		case w.Err != "":
			return w, errors.New(w.Err)
		}
		return w, nil
	}
}

// do gives the agent an order and waits until it is carried out. id names the order.
func (p *pod) do(ctx context.Context, o agent.Order) (id int, w agent.Answer, err error) {
	p.mu.Lock()
	if p.err != nil {
		p.mu.Unlock()
		return 0, w, p.err
	}
	p.last++
	o.ID = p.last
	c := make(chan agent.Answer, 1)
	p.waiting[o.ID] = c
	err = p.orders.Encode(o)
	p.mu.Unlock()
	if err != nil {
		return 0, w, fmt.Errorf("tell the agent: %w", err)
	}
	w, err = p.await(ctx, o.ID, c)
	return o.ID, w, err
}

// close ends the agent, which heals what it broke.
func (p *pod) close() {
	p.streams.Close()
	p.reading.Wait()
}

// Name is the node's.
func (n Node) Name() string { return n.name }

// Enforce puts a rule in force in the node's network. The rule takes itself back after r.For, if nobody does before.
func (n Node) Enforce(ctx context.Context, r agent.Rule) (heal func(context.Context) (touched int, err error), err error) {
	p, err := n.pod()
	if err != nil {
		return nil, err
	}
	id, _, err := p.do(ctx, agent.Order{Rule: &r})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (int, error) {
		_, w, err := p.do(ctx, agent.Order{Heal: id})
		return w.Dropped, err
	}, nil
}

// Look looks at another node from this one.
func (n Node) Look(ctx context.Context, l agent.Look) (agent.Seen, error) {
	p, err := n.pod()
	if err != nil {
		return agent.Seen{}, err
	}
	_, w, err := p.do(ctx, agent.Order{Look: &l})
	if err != nil {
		return agent.Seen{}, err
	}
	return *w.Seen, nil
}

// Call asks the node's own control port for something.
func (n Node) Call(ctx context.Context, path string, body []byte) ([]byte, error) {
	p, err := n.pod()
	if err != nil {
		return nil, err
	}
	_, w, err := p.do(ctx, agent.Order{Call: &agent.Call{Port: n.stack.node(n.name).spec.Control, Path: path, Body: body}})
	return w.Said, err
}

func (n Node) pod() (*pod, error) {
	found := n.stack.node(n.name)
	if found == nil || found.pod == nil {
		return nil, fmt.Errorf("the run has no node %s that can be broken", n.name)
	}
	return found.pod, nil
}

// Kill ends the node's processes with a signal and returns when they have ended. A container that restarts by itself does
// not do so now.
func (n Node) Kill(ctx context.Context, signal string) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	n.settled() // of an earlier death in a crash loop
	before, err := n.inspect(ctx)
	if err != nil {
		return err
	}
	if *n.revoke, err = n.bequeath(start, 0); err != nil {
		return err
	}
	n.expect(+1)
	if _, err := n.stack.docker.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal}); err != nil {
		n.expect(-1)
		return err
	}
	return n.wait(ctx, func(s *container.State) bool { // or has been brought back meanwhile
		return !s.Running || s.StartedAt != before.State.StartedAt
	})
}

// Start brings the node back that was killed, with its files as they were.
func (n Node) Start(ctx context.Context) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	if _, err := n.stack.docker.client.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return err
	}
	n.settled()
	n.expect(-1)
	return n.wait(ctx, func(s *container.State) bool { return s.Running })
}

// expect counts the faults that hold the node down: meanwhile nobody misses it.
func (n Node) expect(more int) {
	n.stack.mu.Lock()
	defer n.stack.mu.Unlock()
	n.stack.nodes[n.name].held += more
}

// Running says whether the node's process runs.
func (n Node) Running(ctx context.Context) (bool, error) {
	info, err := n.inspect(ctx)
	return err == nil && info.State.Running, err
}

func (n Node) inspect(ctx context.Context) (container.InspectResponse, error) {
	id, err := n.id()
	if err != nil {
		return container.InspectResponse{}, err
	}
	info, err := n.stack.docker.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	return info.Container, err
}

// wait returns when the node's container is in a state.
func (n Node) wait(ctx context.Context, in func(*container.State) bool) error {
	for {
		info, err := n.inspect(ctx)
		if err != nil || in(info.State) {
			return err
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
}

// Processes are the ids of the node's workers, in order.
func (n Node) Processes(ctx context.Context) ([]string, error) {
	found := n.stack.node(n.name)
	if found == nil {
		return nil, fmt.Errorf("the run has no node %s", n.name)
	}
	ids, err := n.stack.workers(ctx, found.spec)
	slices.Sort(ids)
	return ids, err
}

// Signal tells the node's first process of something, and does not wait for what comes of it.
func (n Node) Signal(ctx context.Context, signal string) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	_, err = n.stack.docker.client.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: signal})
	return err
}

// KillOne kills the node's last process whose title begins so.
func (n Node) KillOne(ctx context.Context, title string) error {
	found := n.stack.node(n.name)
	if found == nil {
		return fmt.Errorf("the run has no node %s", n.name)
	}
	did, err := n.stack.beside(ctx, found.container, n.name+"-kill", []string{"/lbproof", "slay", "--title", title}, true, "KILL")
	if err == nil && did.code != 0 {
		err = errors.New(strings.TrimSpace(did.said))
	}
	return err
}

// Write puts files in place, each in one step and in their order: written beside and renamed, as a careful deployment does. A
// balancer that watches its files would take over half of one otherwise, or none. Their names are their places.
func (n Node) Write(ctx context.Context, files ...model.File) error {
	found := n.stack.node(n.name)
	if found == nil {
		return fmt.Errorf("the run has no node %s", n.name)
	}
	const suffix = ".lbproof"
	command := []string{"/lbproof", "rename", "--from-suffix", suffix}
	for _, f := range files {
		if err := found.container.CopyToContainer(ctx, f.Content, f.Name+suffix, 0o644); err != nil {
			return err
		}
		command = append(command, "--to", f.Name)
	}
	did, err := n.stack.beside(ctx, found.container, n.name+"-rename", command, true, "SYS_PTRACE", "DAC_OVERRIDE")
	if err == nil && did.code != 0 {
		err = errors.New(strings.TrimSpace(did.said))
	}
	return err
}

// Limit gives the node another processor limit, cores; 0 is none. It returns the one before.
func (n Node) Limit(ctx context.Context, cpus float64) (before float64, err error) {
	info, err := n.inspect(ctx)
	if err != nil {
		return 0, err
	}
	before = float64(info.HostConfig.NanoCPUs) / 1e9
	all := float64(n.stack.docker.cpus)
	if *n.revoke == nil {
		if *n.revoke, err = n.bequeath(limit, cmp.Or(before, all)); err != nil {
			return before, err
		}
	} else {
		defer n.settled()
	}
	if cpus == 0 {
		cpus = all
	}
	_, err = n.stack.docker.client.ContainerUpdate(ctx, info.ID, client.ContainerUpdateOptions{Resources: &container.Resources{NanoCPUs: int64(cpus * 1e9)}})
	return before, err
}

// Addresses are the node's own on the run's networks.
func (n Node) Addresses(ctx context.Context) ([]netip.Addr, error) {
	found := n.stack.node(n.name)
	if found == nil {
		return nil, fmt.Errorf("the run has no node %s", n.name)
	}
	info, err := found.namespace().Inspect(ctx)
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, at := range info.NetworkSettings.Networks {
		if at.IPAddress.IsValid() {
			out = append(out, at.IPAddress)
		}
	}
	return out, nil
}
