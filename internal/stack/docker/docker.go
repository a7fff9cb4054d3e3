// Package docker runs the nodes of a plan as containers on one private network that has no route out.
// It sends no traffic and knows nothing of claims. Everything it makes carries the run's label and is removed by the
// reaper, a container that notices when the harness is gone, however it went.
package docker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Labels on everything that a run makes.
const (
	labelRun  = "lbproof.run"
	labelRole = "lbproof.role"
	labelNode = "lbproof.node"
)

// Docker is the container engine that the environment names (DOCKER_HOST, or the local socket).
type Docker struct {
	Binary   string       // path of a static lbproof, which plays backend, worker and reaper
	Progress func(string) // told what takes long; may be nil

	client   *client.Client
	cpus     int // of the machine
	ownLock  sync.Mutex
	ownImage Found
}

// Host is the machine that the containers run on.
type Host struct {
	Version string // of the engine
	System  string // operating system and kernel
	CPUs    int
	Memory  int64 // bytes
}

var quiet = sync.OnceFunc(func() {
	// The library's own reaper cannot be had without a registry and wants a published port; ours does its work.
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	// In a container the library would take the default gateway for the engine's host.
	os.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	tclog.SetDefault(tclog.NewNoopLogger())
})

// Connect finds the engine, or says how to get one.
func (d *Docker) Connect(ctx context.Context) (Host, error) {
	quiet()
	if d.Progress == nil {
		d.Progress = func(string) {}
	}
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return Host{}, fmt.Errorf("connect to Docker: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := cli.Info(limited, client.InfoOptions{})
	if err != nil {
		cli.Close()
		return Host{}, fmt.Errorf("connect to Docker at %s: %w (is the engine running, and may this user use it? DOCKER_HOST names another)", cli.DaemonHost(), err)
	}
	d.client, d.cpus = cli, info.Info.NCPU
	os.Setenv("DOCKER_HOST", cli.DaemonHost()) // so that the library finds the same engine
	return Host{
		Version: info.Info.ServerVersion,
		System:  strings.TrimSpace(info.Info.OperatingSystem + ", kernel " + info.Info.KernelVersion),
		CPUs:    info.Info.NCPU,
		Memory:  info.Info.MemTotal,
	}, nil
}

// Stack is what one run has started.
type Stack struct {
	docker   *Docker
	run      string
	networks []addressed // the main one first
	clients  netip.Prefix
	entering sync.Mutex // a network, see launch
	reaper   client.HijackedResponse

	// Bounds are the most that a node of each role may use where its spec sets no limit; roles without one have plan.DefaultBounds.
	Bounds map[plan.Role]plan.Bound
	// Key opens the control ports of the run's own nodes, and the gateways of its agents.
	Key string
	// Pods gives every node that is started an agent in whose network it runs, so that faults can be put on it.
	Pods bool
	// Local are nodes whose services the balancer finds on its own loopback address too. Only with Pods.
	Local []plan.Spec
	// Attempted is told who tried to connect to a backend; nil where nobody wants to know. Only with Pods.
	Attempted func(node string, all []agent.Attempt)

	minding sync.WaitGroup // of the reaper

	mu       sync.Mutex
	nodes    map[string]*node
	wills    map[int]will // that the reaper was told and that still stand
	lastWill int
	closed   bool // the reaper's end is wanted
}

type node struct {
	spec      plan.Spec
	container testcontainers.Container
	pod       *pod // nil where the node has none
	image     Found
	oom       bool
	starts    int // since the run's own
	held      int // faults that keep it down
}

// namespace is the container whose network the node is in.
func (n *node) namespace() testcontainers.Container {
	if n.pod != nil {
		return n.pod.container
	}
	return n.container
}

// Open makes the run's networks, and first the reaper that will remove them. The caller must Close what Open returns.
// clients is how many addresses the traffic may come from beside the worker's own.
func (d *Docker) Open(ctx context.Context, run string, specs []plan.Spec, clients int) (*Stack, error) {
	d.sweep(ctx)
	s := d.newStack(run)
	if err := s.startReaper(ctx); err != nil {
		return nil, fmt.Errorf("start the reaper: %w", err)
	}
	if err := s.makeNetworks(ctx, specs, clients); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// newStack is a stack in which nothing is yet.
func (d *Docker) newStack(run string) *Stack {
	return &Stack{docker: d, run: run, Key: rand.Text(), nodes: map[string]*node{}, wills: map[int]will{}}
}

// Start brings up a node and returns when its process runs. It does not wait until the node serves.
func (s *Stack) Start(ctx context.Context, spec plan.Spec, files []model.File) error {
	found, err := s.docker.Image(ctx, spec.Image)
	if err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	one := &node{spec: spec, image: found}
	where, there := s.joined(spec), tweak{}
	if host := s.node(spec.Beside); host != nil {
		where, there = nil, inside(host.holder())
	} else if s.Pods {
		if one.pod, err = s.startPod(ctx, spec); err != nil {
			return err
		}
		where, there = nil, sharing(one.pod.container, spec)
	}
	if one.container, err = s.launch(ctx, found.Ref, s.options(spec, files, there), where); err != nil {
		return fmt.Errorf("start %s: %w", spec.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[spec.Name] = one
	return nil
}

// holder is the container whose network a node's is.
func (n *node) holder() testcontainers.Container {
	if n.pod != nil {
		return n.pod.container
	}
	return n.container
}

// inside puts a container into the network of another.
func inside(c testcontainers.Container) tweak {
	return tweak{
		config: func(own *container.Config) { own.Hostname = "" },
		host: func(h *container.HostConfig) {
			h.NetworkMode = container.NetworkMode("container:" + c.GetContainerID())
		},
	}
}

// sharing puts a node into the network of its agent, which has the node's shared directories.
func sharing(pod testcontainers.Container, spec plan.Spec) tweak {
	there := inside(pod)
	into := there.host
	there.host = func(h *container.HostConfig) {
		into(h)
		if len(spec.Shared) > 0 {
			h.VolumesFrom = []string{pod.GetContainerID()}
		}
	}
	return there
}

// tweak is what a container has beyond its spec; either part may be nil.
type tweak struct {
	config func(*container.Config)
	host   func(*container.HostConfig)
}

// options are all of a container but its network.
func (s *Stack) options(spec plan.Spec, files []model.File, t tweak) []testcontainers.ContainerCustomizer {
	return []testcontainers.ContainerCustomizer{
		testcontainers.CustomizeRequestOption(func(r *testcontainers.GenericContainerRequest) error {
			r.Entrypoint, r.Cmd = spec.Command[:1], spec.Command[1:]
			r.Env = s.environment(spec)
			r.Files = containerFiles(spec, files)
			r.Labels = map[string]string{labelRun: s.run, labelRole: string(spec.Role), labelNode: spec.Name}
			return nil
		}),
		testcontainers.WithConfigModifier(func(c *container.Config) {
			c.Hostname = spec.Hostname
			c.User = cmp.Or(spec.User, rightsOf(spec.Role).user)
			if spec.Role == plan.Backend {
				c.Volumes = volumes([]string{plan.LedgerDir}) // which outlives the process, and is the only place that it writes to
			}
			if spec.Dir != "" {
				c.WorkingDir = spec.Dir
			}
			if len(spec.Health) > 0 {
				c.Healthcheck = &container.HealthConfig{
					Test: append([]string{"CMD"}, spec.Health...), Interval: 30 * time.Second, Timeout: 10 * time.Second, Retries: 3,
				}
			}
			if t.config != nil {
				t.config(c)
			}
		}),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			h.NanoCPUs = int64(spec.CPUs * 1e9)
			h.Memory, h.MemorySwap = spec.Memory, spec.Memory
			h.LogConfig = container.LogConfig{Type: "local", Config: map[string]string{"max-size": "20m", "max-file": "1", "compress": "false"}}
			if spec.Restarts {
				h.RestartPolicy = container.RestartPolicy{Name: container.RestartPolicyUnlessStopped}
			}
			s.restrict(h, spec, len(containerFiles(spec, files)))
			if t.host != nil {
				t.host(h)
			}
		}),
	}
}

// environment is a node's, and the key of the run where the node has doors that the key opens. Nobody else of the run sees it.
func (s *Stack) environment(spec plan.Spec) map[string]string {
	if spec.Role != plan.Backend && spec.Role != plan.Agent {
		return spec.Env
	}
	env := map[string]string{backends.KeyVariable: s.Key}
	maps.Copy(env, spec.Env)
	return env
}

// containerFiles puts configuration files where the node expects them, before its process starts.
func containerFiles(spec plan.Spec, files []model.File) []testcontainers.ContainerFile {
	var out []testcontainers.ContainerFile
	for at, text := range spec.Made {
		out = append(out, testcontainers.ContainerFile{Reader: strings.NewReader(text), ContainerFilePath: at, FileMode: 0o644})
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

// RefusedError is a balancer's own refusal of its configuration.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

// Check gives the configuration to the balancer's own checker, in a container without a network in which every upstream
// host is known. A refusal is a *RefusedError that names the user's file and line.
func (s *Stack) Check(ctx context.Context, spec plan.Spec, files []model.File, hosts []string) error {
	checked, err := s.alone(ctx, spec, spec.Check, files, hosts)
	if err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	if checked.code == 0 {
		return nil
	}
	return &RefusedError{Text: refusal(spec, files, checked.said)}
}

// refusal names the user's file in place of the path in the container.
func refusal(spec plan.Spec, files []model.File, said string) string {
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
	return fmt.Sprintf("%s: refused by %s:\n%s", pos, strings.Join(spec.Check, " "), said)
}

// Exec runs a command in a node and returns what it printed.
func (s *Stack) Exec(ctx context.Context, name string, command []string) (string, error) {
	n := s.node(name)
	code, output, err := n.container.Exec(ctx, command, tcexec.Multiplexed())
	if err != nil {
		return "", fmt.Errorf("run %s in %s: %w", command[0], name, err)
	}
	text, err := io.ReadAll(output)
	if err != nil {
		return "", fmt.Errorf("run %s in %s: %w", command[0], name, err)
	}
	if code != 0 {
		return "", fmt.Errorf("run %s in %s: exit status %d: %s", strings.Join(command, " "), name, code, text)
	}
	return strings.TrimSpace(string(text)), nil
}

func (s *Stack) node(name string) *node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name]
}

// Proof shows that a node's process runs the files it was given: they were put there before it started, they still are
// what they were, and it was started once, with its plan's command. It returns the digest of the main file.
func (s *Stack) Proof(ctx context.Context, spec plan.Spec, files []model.File) (digest string, err error) {
	c := s.node(spec.Name).container
	for at, name := range spec.Files {
		i := slices.IndexFunc(files, func(f model.File) bool { return f.Name == name })
		content, err := readFile(ctx, c, at)
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
	info, err := c.Inspect(ctx)
	if err != nil {
		return "", fmt.Errorf("prove the configuration of %s: %w", spec.Name, err)
	}
	if !info.State.Running || info.RestartCount > 0 {
		return "", s.dead(ctx, spec.Name, info)
	}
	if ran := append([]string{info.Path}, info.Args...); !slices.Equal(ran, spec.Command) {
		return "", fmt.Errorf("prove the configuration of %s: it runs %q instead of %q", spec.Name, ran, spec.Command)
	}
	return digest, nil
}

func readFile(ctx context.Context, c testcontainers.Container, at string) ([]byte, error) {
	r, err := c.CopyFileFromContainer(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", at, err)
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Workers counts a node's processes whose title begins as its spec says, once there are as many as expected or, if that
// never comes, after two seconds.
func (s *Stack) Workers(ctx context.Context, spec plan.Spec, expected int) (int, error) {
	deadline := time.Now().Add(2 * time.Second)
	for {
		found, err := s.workers(ctx, spec)
		if err != nil || len(found) == expected || time.Now().After(deadline) {
			return len(found), err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// workers are the ids of a node's processes whose title begins as its spec says, the first left out where it is a master.
func (s *Stack) workers(ctx context.Context, spec plan.Spec) ([]string, error) {
	top, err := s.docker.client.ContainerTop(ctx, s.node(spec.Name).container.GetContainerID(), client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	if err != nil && strings.Contains(err.Error(), `"ps"`) {
		return nil, fmt.Errorf("list the processes of %s: %w; the engine's machine needs the program: 'apt-get install procps' there", spec.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("list the processes of %s: %w", spec.Name, err)
	}
	var ids []string
	for _, process := range top.Processes {
		if title := process[len(process)-1]; strings.HasPrefix(title, spec.Title) && !strings.Contains(title, "shutting down") {
			ids = append(ids, process[0])
		}
	}
	if spec.Master && len(ids) > 0 {
		ids = ids[1:]
	}
	return ids, nil
}

// Address is a node's address on the run's network.
func (s *Stack) Address(ctx context.Context, name string) (string, error) {
	info, err := s.node(name).namespace().Inspect(ctx)
	if err != nil {
		return "", fmt.Errorf("find the address of %s: %w", name, err)
	}
	at, ok := info.NetworkSettings.Networks[s.networks[0].name]
	if !ok || !at.IPAddress.IsValid() {
		return "", fmt.Errorf("find the address of %s: it is not on the run's network", name)
	}
	return at.IPAddress.String(), nil
}

// Nodes says how every container has fared so far.
func (s *Stack) Nodes(ctx context.Context) ([]history.Node, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []history.Node
	for name, n := range s.nodes {
		info, err := n.container.Inspect(ctx)
		if err != nil {
			return nil, fmt.Errorf("inspect %s: %w", name, err)
		}
		one := history.Node{
			Name: name, Role: n.spec.Role, Image: n.image.Ref, Source: n.image.Source, CPUs: n.spec.CPUs, Memory: n.spec.Memory,
			ImageID: info.Image, Restarts: info.RestartCount, OOMKilled: n.oom || info.State.OOMKilled,
		}
		network := info
		if n.pod != nil {
			if network, err = n.pod.container.Inspect(ctx); err != nil {
				return nil, fmt.Errorf("inspect the agent of %s: %w", name, err)
			}
		}
		if at := network.NetworkSettings.Networks[s.networks[0].name]; at != nil && at.IPAddress.IsValid() {
			one.Address = at.IPAddress.String()
		}
		if !info.State.Running && !info.State.Restarting {
			one.Exit = fmt.Sprintf("exit status %d", info.State.ExitCode)
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b history.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Logs writes what a node printed.
func (s *Stack) Logs(ctx context.Context, name string, w io.Writer) error {
	return s.copyLogs(ctx, s.node(name).container.GetContainerID(), w)
}

func (s *Stack) copyLogs(ctx context.Context, id string, w io.Writer) error {
	logs, err := s.docker.client.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return fmt.Errorf("read the log of %s: %w", path.Base(id), err)
	}
	defer logs.Close()
	if _, err := stdcopy.StdCopy(w, w, logs); err != nil {
		return fmt.Errorf("read the log of %s: %w", path.Base(id), err)
	}
	return nil
}

// pause waits, or returns why it may not.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
