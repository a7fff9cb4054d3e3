package docker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Stack is what one run has created.
type Stack struct {
	engine         *Engine
	config         stack.RunConfig
	networks       []runNetwork // the main one first
	clientNetwork  netip.Prefix
	joinMu         sync.Mutex // serializes joining networks, see launch
	reaper         client.HijackedResponse
	reaperWatchers sync.WaitGroup

	mu         sync.Mutex
	nodes      map[string]*node    // by container id
	names      map[string]int      // how often nextName has used a name
	undos      map[int]pendingUndo // scheduled with the reaper, by id
	lastUndoID int
	closed     bool // the reaper should exit
}

// Open removes stale runs, then starts the reaper, then creates the run's networks.
func (e *Engine) Open(ctx context.Context, config stack.RunConfig) (stack.Stack, error) {
	if !config.Isolated {
		e.removeStaleRuns(ctx)
	}
	s := e.newStack(config)
	if err := s.startReaper(ctx); err != nil {
		return nil, fmt.Errorf("start the reaper: %w", err)
	}
	if config.Isolated {
		return s, nil
	}
	if err := s.createNetworks(ctx, config.Addresses, config.ClientCount); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newStack returns an empty stack.
func (e *Engine) newStack(w stack.RunConfig) *Stack {
	return &Stack{engine: e, config: w, nodes: map[string]*node{}, names: map[string]int{}, undos: map[int]pendingUndo{}}
}

// Start starts a container and returns once its process runs.
func (s *Stack) Start(ctx context.Context, start stack.Start) (stack.Node, error) {
	n := &node{stack: s, name: start.Spec.Name}
	options := s.options(start, nil)
	var attached client.ContainerAttachResult
	if start.AttachStreams {
		attach := func(ctx context.Context, c testcontainers.Container) (err error) {
			all := client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true}
			attached, err = s.engine.client.ContainerAttach(ctx, c.GetContainerID(), all)
			return err
		}
		before := testcontainers.ContainerLifecycleHooks{PreStarts: []testcontainers.ContainerHook{attach}}
		options = append(options, testcontainers.WithAdditionalLifecycleHooks(before))
	}
	var networks []testcontainers.ContainerCustomizer
	if start.Placement != nil {
		networks = s.networkOptions(*start.Placement)
	}
	var err error
	if n.container, err = s.launch(ctx, start.Image.Ref, options, networks); err != nil {
		return nil, err
	}
	if start.AttachStreams {
		n.streams = demultiplex(attached.HijackedResponse)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[n.id()] = n
	return n, nil
}

// launch creates and starts a container. Containers join networks one at a time: Docker 20.10 sometimes miscounts the
// containers of a network when several join or leave it concurrently, and does not remove a network with a positive
// count until Docker is restarted.
func (s *Stack) launch(
	ctx context.Context, image string, options, networks []testcontainers.ContainerCustomizer,
) (testcontainers.Container, error) {
	c, err := s.run(ctx, image, append(append(options, networks...), testcontainers.WithNoStart())...)
	if err != nil {
		return c, err
	}
	if len(networks) > 0 {
		s.joinMu.Lock()
		defer s.joinMu.Unlock()
	}
	return c, c.Start(ctx)
}

// options returns all options of a container except its networks. more, if not nil, modifies the host configuration
// last.
func (s *Stack) options(start stack.Start, more func(*container.HostConfig)) []testcontainers.ContainerCustomizer {
	spec := start.Spec
	return []testcontainers.ContainerCustomizer{
		testcontainers.CustomizeRequestOption(func(r *testcontainers.GenericContainerRequest) error {
			r.Name = s.nextName(spec.Name)
			r.Entrypoint, r.Cmd = spec.Command[:1], spec.Command[1:]
			r.Env = spec.Env
			r.Files = containerFiles(spec, start.Files)
			r.Labels = map[string]string{labelRun: s.config.Run, labelRole: string(spec.Role), labelNode: spec.Name}
			return nil
		}),
		testcontainers.WithConfigModifier(func(c *container.Config) { configureContainer(c, start) }),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			s.applyLimits(h, start)
			placeContainer(h, start)
			if more != nil {
				more(h)
			}
		}),
	}
}

// configureContainer sets what runs in a container.
func configureContainer(c *container.Config, start stack.Start) {
	spec := start.Spec
	c.Hostname = spec.ContainerHostname
	if start.NetworkOf != nil {
		c.Hostname = "" // it has the other node's
	}
	c.User = cmp.Or(spec.User, start.Privileges.User)
	if len(start.Volumes) > 0 {
		c.Volumes = map[string]struct{}{}
		for _, dir := range start.Volumes {
			c.Volumes[dir] = struct{}{}
		}
	}
	if spec.WorkDir != "" {
		c.WorkingDir = spec.WorkDir
	}
	if len(spec.HealthCommand) > 0 {
		c.Healthcheck = &container.HealthConfig{
			Test:     append([]string{"CMD"}, spec.HealthCommand...),
			Interval: 30 * time.Second, Timeout: 10 * time.Second, Retries: 3,
		}
	}
	if start.AttachStreams {
		c.OpenStdin, c.StdinOnce, c.AttachStdin = true, true, true
	}
}

// applyLimits sets a container's privileges and resource limits.
func (s *Stack) applyLimits(h *container.HostConfig, start stack.Start) {
	spec := start.Spec
	h.NanoCPUs = int64(spec.CPUs * 1e9)
	h.Memory, h.MemorySwap = spec.Memory, spec.Memory
	h.CapDrop = []string{"ALL"}
	h.CapAdd = slices.Clone(start.Privileges.Capabilities)
	h.SecurityOpt = []string{"no-new-privileges:true"}
	h.ReadonlyRootfs = start.Privileges.ReadOnly && len(containerFiles(spec, start.Files)) == 0
	bound := s.config.BoundFor(spec.Role)
	h.PidsLimit = &bound.PIDs
	if h.Memory == 0 {
		h.Memory, h.MemorySwap = bound.Memory, bound.Memory
	}
}

// placeContainer sets a container's network mode, log driver and restart policy.
func placeContainer(h *container.HostConfig, start stack.Start) {
	h.LogConfig = container.LogConfig{
		Type: "local", Config: map[string]string{"max-size": "20m", "max-file": "1", "compress": "false"},
	}
	if start.AttachStreams {
		h.LogConfig = container.LogConfig{Type: "none"}
	}
	if start.Spec.AutoRestart {
		h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
	}
	if start.NetworkOf != nil {
		other := start.NetworkOf.(*node).id() // nodes of different runtimes are never mixed
		h.NetworkMode = container.NetworkMode("container:" + other)
		if len(start.Spec.SharedDirs) > 0 {
			h.VolumesFrom = []string{other}
		}
	}
	if start.Isolated {
		h.NetworkMode = "none"
		for _, name := range start.LoopbackHosts {
			h.ExtraHosts = append(h.ExtraHosts, name+":127.0.0.1")
		}
	}
}

// containerFiles returns the files that are copied into a container before its process starts.
func containerFiles(spec plan.Spec, files []model.File) []testcontainers.ContainerFile {
	var out []testcontainers.ContainerFile
	for at, text := range spec.GeneratedFiles {
		out = append(out, testcontainers.ContainerFile{
			Reader: strings.NewReader(text), ContainerFilePath: at, FileMode: 0o644,
		})
	}
	for at, name := range spec.Files {
		i := slices.IndexFunc(files, func(f model.File) bool { return f.Name == name })
		if i < 0 {
			continue
		}
		out = append(out, testcontainers.ContainerFile{
			Reader: bytes.NewReader(files[i].Content), ContainerFilePath: at, FileMode: 0o644,
		})
	}
	return out
}

// eventKinds maps the engine's events.
var eventKinds = map[events.Action]stack.EventKind{
	"die": stack.Exited, "oom": stack.OutOfMemory, "start": stack.Started,
}

// Watch passes the events of the run's nodes on to tell until ctx ends.
func (s *Stack) Watch(ctx context.Context, tell func(stack.Event)) error {
	wanted := make(client.Filters).Add("label", labelRun+"="+s.config.Run).Add("type", "container")
	for action := range eventKinds {
		wanted.Add("event", string(action))
	}
	stream := s.engine.client.Events(ctx, client.EventsListOptions{Filters: wanted})
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-stream.Err:
			return err
		case e := <-stream.Messages:
			s.mu.Lock()
			n := s.nodes[e.Actor.ID]
			s.mu.Unlock()
			if n != nil {
				tell(stack.Event{Node: n, Kind: eventKinds[e.Action]})
			}
		}
	}
}
