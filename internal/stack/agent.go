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

// Agent is a client of the agent that owns a node's network. Every node has one if the run injects faults.
type Agent struct {
	node       Node
	streams    *Streams
	onAttempts func([]agent.Attempt)
	readers    sync.WaitGroup

	mu      sync.Mutex
	encoder *json.Encoder // of requests
	lastID  int
	waiting map[int]chan agent.Response
	err     error // why there are no more responses
}

// startAgent starts the agent of a node, with the node's names and addresses.
func (r *Rig) startAgent(ctx context.Context, spec plan.Spec) (*Agent, error) {
	own := plan.Spec{
		Name: spec.Name + "-agent", Role: plan.Agent, Command: r.agentCommand(spec),
		ContainerHostname: spec.ContainerHostname,
	}
	s := Start{
		Spec: own, Privileges: PrivilegesOf(plan.Agent), Placement: placementOf(spec), Volumes: spec.SharedDirs,
		AttachStreams: true,
	}
	if len(spec.SharedDirs) > 0 { // they may contain sockets of other users
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

// agentCommand returns the command of a node's agent: it records attempts to connect to a backend, forwards services
// to a balancer's loopback address, and owns the directories that the node shares.
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

// portList formats ports for lbproof's --ports flags.
func portList(ports []int) string {
	var all []string
	for _, p := range ports {
		all = append(all, strconv.Itoa(p))
	}
	return strings.Join(all, ",")
}

// reportAttempts returns a function that passes attempts to connect to a node on to the run.
func (r *Rig) reportAttempts(name string) func([]agent.Attempt) {
	return func(all []agent.Attempt) {
		if r.setup.OnAttempts != nil {
			r.setup.OnAttempts(name, all)
		}
	}
}

// NewAgent talks to an agent through the streams of its node, and returns when the agent is ready. onAttempts receives
// attempts to connect.
func NewAgent(ctx context.Context, n Node, onAttempts func([]agent.Attempt)) (*Agent, error) {
	streams := n.Streams()
	a := &Agent{
		node: n, streams: streams, onAttempts: onAttempts,
		encoder: json.NewEncoder(streams.In), waiting: map[int]chan agent.Response{},
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

// read delivers responses to the requests that wait for them.
func (a *Agent) read() {
	responses := json.NewDecoder(a.streams.Out)
	for {
		var w agent.Response
		if err := responses.Decode(&w); err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.err = fmt.Errorf("the agent has exited: %w", err)
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

// do sends a request to the agent and waits for the response. id identifies the request.
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
	err = a.encoder.Encode(o)
	a.mu.Unlock()
	if err != nil {
		return 0, w, fmt.Errorf("send to the agent: %w", err)
	}
	w, err = a.await(ctx, o.ID, c)
	return o.ID, w, err
}

// close stops the agent, which undoes its rules.
func (a *Agent) close() {
	a.streams.Close()
	a.readers.Wait()
}
