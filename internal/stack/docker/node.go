package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// node is a container of the run.
type node struct {
	stack     *Stack
	name      string
	container testcontainers.Container
	streams   *stack.Streams // may be nil
}

func (n *node) id() string { return n.container.GetContainerID() }

func (n *node) api() *client.Client { return n.stack.engine.client }

// State returns the container's state.
func (n *node) State(ctx context.Context) (stack.State, error) {
	found, err := n.api().ContainerInspect(ctx, n.id(), client.ContainerInspectOptions{})
	if err != nil {
		return stack.State{}, err
	}
	info := found.Container
	started, err := time.Parse(time.RFC3339Nano, info.State.StartedAt)
	if err != nil {
		return stack.State{}, fmt.Errorf("start time of the container: %w", err)
	}
	return stack.State{
		Running: info.State.Running, Restarting: info.State.Restarting, Frozen: info.State.Paused,
		OOMKilled: info.State.OOMKilled, ExitCode: info.State.ExitCode, Restarts: info.RestartCount, Started: started,
		Argv: append([]string{info.Path}, info.Args...), Cores: float64(info.HostConfig.NanoCPUs) / 1e9,
		ImageID: info.Image, Addresses: n.addresses(info.NetworkSettings.Networks),
	}, nil
}

// addresses returns the container's addresses in the order of the run's networks.
func (n *node) addresses(in map[string]*apinetwork.EndpointSettings) []netip.Addr {
	var out []netip.Addr
	for _, one := range n.stack.networks {
		if at := in[one.name]; at != nil && at.IPAddress.IsValid() {
			out = append(out, at.IPAddress)
		}
	}
	return out
}

// Streams returns nil unless the container was started with AttachStreams.
func (n *node) Streams() *stack.Streams { return n.streams }

// demultiplex splits the engine's multiplexed stream.
func demultiplex(attached client.HijackedResponse) *stack.Streams {
	return stack.NewStreams(attached.Conn, func(stdout, stderr io.Writer) error {
		_, err := stdcopy.StdCopy(stdout, stderr, attached.Reader)
		return err
	})
}

// Signal sends a signal through the engine, which does not restart a container that exits because of it.
func (n *node) Signal(ctx context.Context, signal string) error {
	_, err := n.api().ContainerKill(ctx, n.id(), client.ContainerKillOptions{Signal: signal})
	return err
}

// Restart starts the container again.
func (n *node) Restart(ctx context.Context) error {
	_, err := n.api().ContainerStart(ctx, n.id(), client.ContainerStartOptions{})
	return err
}

// Freeze pauses or unpauses the container.
func (n *node) Freeze(ctx context.Context, frozen bool) (err error) {
	if frozen {
		_, err = n.api().ContainerPause(ctx, n.id(), client.ContainerPauseOptions{})
		return err
	}
	_, err = n.api().ContainerUnpause(ctx, n.id(), client.ContainerUnpauseOptions{})
	return err
}

// LimitCPU sets the container's CPU limit. The engine cannot remove a limit, so 0 sets it to all CPUs.
func (n *node) LimitCPU(ctx context.Context, cores float64) error {
	_, err := n.api().ContainerUpdate(ctx, n.id(),
		client.ContainerUpdateOptions{Resources: n.stack.engine.resources(cores)})
	return err
}

// ScheduleUndo tells the reaper to undo a fault of the container, unless revoke is called before.
func (n *node) ScheduleUndo(u stack.Undo) (revoke func()) {
	undo := pendingUndo{Container: n.id(), Kind: u.Kind, After: u.After}
	if u.Kind == stack.RestoreLimit {
		undo.NanoCPUs = n.stack.engine.resources(u.Cores).NanoCPUs
	}
	return n.stack.scheduleUndo(undo)
}

// resources converts a CPU limit for the engine; 0 is all CPUs.
func (e *Engine) resources(cores float64) *container.Resources {
	if cores == 0 {
		cores = float64(e.cpus)
	}
	return &container.Resources{NanoCPUs: int64(cores * 1e9)}
}

// Processes lists the container's processes, with ps on the engine's machine.
func (n *node) Processes(ctx context.Context) ([]stack.Process, error) {
	top, err := n.api().ContainerTop(ctx, n.id(), client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	if err != nil && strings.Contains(err.Error(), `"ps"`) {
		return nil, fmt.Errorf("%w; install ps on the engine's machine: 'apt-get install procps'", err)
	}
	if err != nil {
		return nil, err
	}
	var all []stack.Process
	for _, p := range top.Processes {
		all = append(all, stack.Process{ID: p[0], Title: p[len(p)-1]})
	}
	return all, nil
}

// Run runs a command in the container, or an lbproof command in a sidecar.
func (n *node) Run(ctx context.Context, c stack.Command) (stack.Output, error) {
	if c.RunLbproof {
		return n.runSidecar(ctx, c)
	}
	code, output, err := n.container.Exec(ctx, c.Argv, tcexec.Multiplexed())
	if err != nil {
		return stack.Output{}, err
	}
	text, err := io.ReadAll(output)
	return stack.Output{ExitCode: code, Text: string(text)}, err
}

// runSidecar runs an lbproof command in a container that shares the node's network, and waits for it to exit.
func (n *node) runSidecar(ctx context.Context, c stack.Command) (stack.Output, error) {
	s := n.stack
	image, err := s.engine.nodeImage(ctx)
	if err != nil {
		return stack.Output{}, err
	}
	start := stack.Start{
		Spec: plan.Spec{
			Name: n.name + "-" + c.Argv[0], Role: stack.Sidecar,
			Command: append([]string{"/lbproof"}, c.Argv...),
		},
		Privileges: stack.PrivilegesOf(stack.Sidecar).WithCapabilities(c.Capabilities...), NetworkOf: n,
	}
	options := s.options(start, func(h *container.HostConfig) {
		if c.SharePIDs {
			h.PidMode = container.PidMode("container:" + n.id())
		}
	})
	exit := wait.ForExit().WithExitTimeout(time.Minute).WithPollInterval(20 * time.Millisecond)
	sidecar, err := s.run(ctx, image.Ref, append(options, testcontainers.WithWaitStrategy(exit))...)
	if err != nil {
		return stack.Output{}, err
	}
	state, err := sidecar.State(ctx)
	if err != nil {
		return stack.Output{}, err
	}
	var output strings.Builder
	err = s.engine.copyLogs(ctx, sidecar.GetContainerID(), stack.LogOptions{Stdout: &output, Stderr: &output})
	return stack.Output{ExitCode: state.ExitCode, Text: output.String()}, err
}

// Read opens a file of the container.
func (n *node) Read(ctx context.Context, file string) (io.ReadCloser, error) {
	got, err := n.api().CopyFromContainer(ctx, n.id(), client.CopyFromContainerOptions{SourcePath: file})
	if errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("%w (%w)", err, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if got.Stat.LinkTarget == stack.Stdout {
		got.Content.Close()
		return nil, stack.ErrLinksToStdout
	}
	archive := tar.NewReader(got.Content)
	if _, err := archive.Next(); err != nil {
		got.Content.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{archive, got.Content}, nil
}

// Write copies files next to their paths and renames them in a sidecar, because the engine does not write atomically.
func (n *node) Write(ctx context.Context, files ...model.File) error {
	const suffix = ".lbproof"
	rename := stack.Command{
		Argv: []string{"rename-files", "--from-suffix", suffix}, SharePIDs: true,
		Capabilities: []string{"SYS_PTRACE", "DAC_OVERRIDE"},
	}
	for _, f := range files {
		if err := n.container.CopyToContainer(ctx, f.Content, f.Name+suffix, 0o644); err != nil {
			return err
		}
		rename.Argv = append(rename.Argv, "--to", f.Name)
	}
	output, err := n.runSidecar(ctx, rename)
	if err == nil && output.ExitCode != 0 {
		err = errors.New(strings.TrimSpace(output.Text))
	}
	return err
}

// Logs writes the part of the container's log that the engine keeps.
func (n *node) Logs(ctx context.Context, l stack.LogOptions) error {
	return n.stack.engine.copyLogs(ctx, n.id(), l)
}

func (e *Engine) copyLogs(ctx context.Context, id string, l stack.LogOptions) error {
	what := client.ContainerLogsOptions{
		ShowStdout: l.Stdout != nil, ShowStderr: l.Stderr != nil, Timestamps: l.Timestamps, Follow: l.Follow,
	}
	logs, err := e.client.ContainerLogs(ctx, id, what)
	if err != nil {
		return err
	}
	defer logs.Close()
	_, err = stdcopy.StdCopy(orDiscard(l.Stdout), orDiscard(l.Stderr), logs)
	if l.Follow && ctx.Err() != nil {
		return nil
	}
	return err
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// Usage returns the usage of the container's cgroup and network.
func (n *node) Usage(ctx context.Context) (history.Sample, error) {
	answer, err := n.api().ContainerStats(ctx, n.id(), client.ContainerStatsOptions{})
	if err != nil {
		return history.Sample{}, err
	}
	defer answer.Body.Close()
	var stats container.StatsResponse
	if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
		return history.Sample{}, err
	}
	if stats.CPUStats.CPUUsage.TotalUsage == 0 {
		return history.Sample{}, errors.New("the container is not running")
	}
	out := history.Sample{
		CPU:       time.Duration(stats.CPUStats.CPUUsage.TotalUsage),
		Throttled: time.Duration(stats.CPUStats.ThrottlingData.ThrottledTime),
		Memory:    int64(stats.MemoryStats.Usage) - pageCache(stats.MemoryStats.Stats),
	}
	for _, one := range stats.Networks {
		out.Received += int64(one.RxBytes)
		out.Sent += int64(one.TxBytes)
	}
	return out, nil
}

// pageCache returns the memory that the kernel can reclaim, under its cgroup v1 or v2 name.
func pageCache(stats map[string]uint64) int64 {
	if v, ok := stats["total_inactive_file"]; ok {
		return int64(v)
	}
	return int64(stats["inactive_file"])
}
