package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

// Agent speaks with the agent of a node, in whose network the node itself runs. A node that may be broken has one.
type Agent struct {
	node       Node
	streams    *Streams
	onAttempts func([]agent.Attempt)
	readers    sync.WaitGroup

	mu      sync.Mutex
	orders  *json.Encoder
	lastID  int
	waiting map[int]chan agent.Response
	err     error // why there are no more answers
}

// startAgent brings up the agent of a node, which has the node's names and addresses.
func (r *Rig) startAgent(ctx context.Context, spec plan.Spec) (*Agent, error) {
	own := plan.Spec{Name: spec.Name + "-agent", Role: plan.Agent, Command: r.agentCommand(spec), ContainerHostname: spec.ContainerHostname}
	s := Start{Spec: own, Privileges: PrivilegesOf(plan.Agent), Placement: placementOf(spec), Volumes: spec.SharedDirs, AttachStreams: true}
	if len(spec.SharedDirs) > 0 { // where sockets of other users' may be
		s.Privileges = s.Privileges.WithCapabilities("DAC_OVERRIDE")
	}
	var err error
	if s.Image, err = r.runtime.Image(ctx, own.Image); err != nil {
		return nil, fmt.Errorf("start %s: %w", own.Name, err)
	}
	n, err := r.launch(ctx, s)
	if err != nil {
		return nil, err
	}
	a, err := NewAgent(ctx, n, r.reportAttempts(spec.Name))
	if err != nil {
		return nil, fmt.Errorf("start the agent of %s: %w", spec.Name, err)
	}
	return a, nil
}

// agentCommand is what the agent of a node does by itself: it notes attempts to connect to a backend, has services of
// others on the loopback address of a balancer, and keeps directories that the node has too.
func (r *Rig) agentCommand(spec plan.Spec) []string {
	command := []string{"/lbproof", "agent"}
	if spec.Role == plan.Backend && len(spec.Ports) > 0 {
		command = append(command, "--ports", portList(spec.Ports))
	}
	for _, d := range r.setup.LoopbackServices {
		if spec.Role == plan.Balancer || spec.Role == plan.Peer {
			command = append(command, "--local", fmt.Sprintf("%s=%d", d.Host(), d.Ports[0]))
		}
	}
	for _, dir := range spec.SharedDirs {
		command = append(command, "--shared", dir)
	}
	return command
}

// portList writes ports as lbproof's own commands read them.
func portList(ports []int) string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(p))
	}
	return strings.Join(all, ",")
}

// reportAttempts passes on who tried to connect to a node.
func (r *Rig) reportAttempts(name string) func([]agent.Attempt) {
	return func(all []agent.Attempt) {
		if r.setup.OnAttempts != nil {
			r.setup.OnAttempts(name, all)
		}
	}
}

// NewAgent speaks with an agent by the streams of its node, and returns when it is ready. tell is told who tried to
// connect.
func NewAgent(ctx context.Context, n Node, tell func([]agent.Attempt)) (*Agent, error) {
	streams := n.Streams()
	a := &Agent{
		node: n, streams: streams, onAttempts: tell,
		orders: json.NewEncoder(streams.In), waiting: map[int]chan agent.Response{},
	}
	ready := a.register(0)
	a.readers.Go(a.read)
	if _, err := a.await(ctx, 0, ready); err != nil {
		streams.Close()
		return nil, fmt.Errorf("%w: %s", err, tail(string(streams.Log.Bytes()), 3))
	}
	return a, nil
}

func (a *Agent) register(id int) chan agent.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := make(chan agent.Response, 1)
	a.waiting[id] = c
	return c
}

// read hands answers to those who wait for them.
func (a *Agent) read() {
	answers := json.NewDecoder(a.streams.Out)
	for {
		var w agent.Response
		if err := answers.Decode(&w); err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.err = fmt.Errorf("the agent has ended: %w", err)
			for _, c := range a.waiting {
				close(c)
			}
			a.waiting = nil
			return
		}
		if len(w.Attempts) > 0 {
			a.onAttempts(w.Attempts)
			continue
		}
		a.mu.Lock()
		if c := a.waiting[w.ID]; c != nil {
			c <- w
			delete(a.waiting, w.ID)
		}
		a.mu.Unlock()
	}
}

func (a *Agent) await(ctx context.Context, id int, c chan agent.Response) (agent.Response, error) {
	select {
	case <-ctx.Done():
		return agent.Response{}, context.Cause(ctx)
	case w, ok := <-c:
		switch {
		case !ok:
			return w, a.err
		case w.Err != "":
			return w, errors.New(w.Err)
		}
		return w, nil
	}
}

// do gives the agent an order and waits until it is carried out. id names the order.
func (a *Agent) do(ctx context.Context, o agent.Request) (id int, w agent.Response, err error) {
	a.mu.Lock()
	if a.err != nil {
		a.mu.Unlock()
		return 0, w, a.err
	}
	a.lastID++
	o.ID = a.lastID
	c := make(chan agent.Response, 1)
	a.waiting[o.ID] = c
	err = a.orders.Encode(o)
	a.mu.Unlock()
	if err != nil {
		return 0, w, fmt.Errorf("tell the agent: %w", err)
	}
	w, err = a.await(ctx, o.ID, c)
	return o.ID, w, err
}

// close ends the agent, which heals what it broke.
func (a *Agent) close() {
	a.streams.Close()
	a.readers.Wait()
}
