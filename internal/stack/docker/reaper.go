package docker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
)

// engineSocket is the engine's socket in the reaper, which runs on the engine's machine.
const engineSocket = "/var/run/docker.sock"

// startReaper starts the reaper, a container that outlives lbproof. When its standard input ends, because Close closed
// it or lbproof was killed, the reaper removes everything with the run's label.
//
// Until the reaper runs, a guard process on this machine does its work: lbproof may be killed after the engine has
// created a container and before it starts.
func (s *Stack) startReaper(ctx context.Context) error {
	leave, err := s.startGuard()
	if err != nil {
		return err
	}
	defer leave()
	err = s.startReaperOnce(ctx)
	if errdefs.IsNotFound(err) { // another build of lbproof has just removed the image, which was unused
		s.engine.forgetNodeImage()
		err = s.startReaperOnce(ctx)
	}
	return err
}

// startGuard starts a process that removes the run if this one exits before leave is called.
func (s *Stack) startGuard() (leave func(), err error) {
	cmd := exec.Command(s.engine.Binary, "reaper", "--run", s.config.Run, "--guard")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal to this process group must not reach it
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the reaper's guard: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the reaper's guard: %w", err)
	}
	return func() {
		_ = json.NewEncoder(alive).Encode(pendingUndo{RunOver: true})
		alive.Close()
		_ = cmd.Wait()
	}, nil
}

func (s *Stack) startReaperOnce(ctx context.Context) error {
	id, err := s.createReaper(ctx)
	if err != nil {
		return err
	}
	attached, err := s.engine.client.ContainerAttach(ctx, id,
		client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true})
	if err == nil {
		if _, err = s.engine.client.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
			attached.Close()
		}
	}
	if err != nil {
		_, _ = s.engine.client.ContainerRemove(context.WithoutCancel(ctx), id,
			client.ContainerRemoveOptions{Force: true})
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reaper = attached.HijackedResponse
	if s.closed { // in the meantime
		s.reaper.Close()
	}
	s.reaperWatchers.Go(func() { s.watchReaper(attached.Reader) })
	return nil
}

// createReaper creates the reaper's container and does not start it.
func (s *Stack) createReaper(ctx context.Context) (id string, err error) {
	found, err := s.engine.Image(ctx, plan.Image{})
	if err != nil {
		return "", err
	}
	source := engineSocket
	if at, ok := strings.CutPrefix(s.engine.client.DaemonHost(), "unix://"); ok {
		source = at
	}
	rights := stack.PrivilegesOf(stack.Reaper)
	host := &container.HostConfig{
		AutoRemove: true, NetworkMode: "none",
		Binds: []string{source + ":" + engineSocket}, LogConfig: container.LogConfig{Type: "none"},
	}
	s.applyLimits(host, stack.Start{Spec: plan.Spec{Role: stack.Reaper}, Privileges: rights})
	config := &container.Config{
		Image: found.Ref, Cmd: []string{"/lbproof", "reaper", "--run", s.config.Run},
		OpenStdin: true, StdinOnce: true, AttachStdin: true,
		User:   rights.User,
		Labels: map[string]string{labelRun: s.config.Run, labelRole: string(stack.Reaper)},
	}
	err = s.withFreeName(func() error {
		name := s.nextName(string(stack.Reaper))
		options := client.ContainerCreateOptions{Name: name, Config: config, HostConfig: host}
		made, err := s.engine.client.ContainerCreate(ctx, options)
		id = made.ID
		return err
	})
	return id, err
}

// watchReaper waits until the reaper exits. If it was killed, watchReaper starts another one with the same pending
// undos.
func (s *Stack) watchReaper(output io.Reader) {
	_, _ = io.Copy(io.Discard, output) // ends when the reaper exits
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.startReaper(ctx); err != nil {
		s.engine.Progress(fmt.Sprintf("the reaper of run %s was killed and cannot be restarted: %v; lbproof removes the "+
			"run itself at its end", s.config.Run, err))
		return
	}
	s.engine.Progress("the reaper of run " + s.config.Run + " was killed (out of memory?) and has been restarted")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, undo := range s.undos {
		_ = json.NewEncoder(s.reaper.Conn).Encode(undo) // if it fails, this reaper was killed too and is replaced
	}
}

// reaperTimeout is how long Close waits for the reaper before it removes the run itself.
const reaperTimeout = 15 * time.Second

// Close removes everything that the run created, even after the run's context has ended or if the reaper hangs. An
// empty network that Docker does not release is reported and no error: restarting Docker removes it.
func (s *Stack) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.mu.Lock()
	s.closed = true
	_ = json.NewEncoder(s.reaper.Conn).Encode(pendingUndo{RunOver: true})
	s.reaper.Close()
	s.mu.Unlock()
	defer s.reaperWatchers.Wait()
	began := time.Now()
	for {
		left, err := listLeftovers(ctx, s.engine.client, s.config.Run, true)
		if err != nil {
			return fmt.Errorf("clean up run %s: %w", s.config.Run, err)
		}
		if len(left) == 0 {
			return nil
		}
		reaperGone := !slices.ContainsFunc(left, func(l leftover) bool { return l.isReaper })
		if areOnlyNetworks(left) && time.Since(began) > networkReleaseTimeout {
			s.engine.Progress("Docker does not release " + describeLeftovers(left) + ", though it is empty; restart Docker")
			return nil
		}
		if reaperGone || time.Since(began) > reaperTimeout {
			removeAll(ctx, s.engine.client, left)
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("clean up run %s: not removed: %s", s.config.Run, describeLeftovers(left))
		}
	}
}

// leftover is a container or network that a run has created and not removed.
type leftover struct {
	kind      string // container or network
	id        string
	name      string
	inNetwork bool // a container that joined a network itself, not another container's
	isReaper  bool
}

func describeLeftovers(left []leftover) string {
	var all []string
	for _, l := range left {
		all = append(all, l.kind+" "+cmp.Or(l.name, l.id))
	}
	return strings.Join(all, ", ")
}

// listLeftovers lists what has the run's label.
func listLeftovers(ctx context.Context, cli *client.Client, run string, reaper bool) ([]leftover, error) {
	mine := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	if err != nil {
		return nil, err
	}
	networks, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	if err != nil {
		return nil, err
	}
	var left []leftover
	for _, c := range containers.Items {
		if reaps := c.Labels[labelRole] == string(stack.Reaper); reaper || !reaps {
			left = append(left, newLeftover(c))
		}
	}
	for _, n := range networks.Items {
		left = append(left, leftover{kind: "network", id: n.ID, name: n.Name})
	}
	return left, nil
}

func newLeftover(c container.Summary) leftover {
	mode := container.NetworkMode(c.HostConfig.NetworkMode)
	l := leftover{
		kind: "container", id: c.ID, inNetwork: !mode.IsNone() && !mode.IsContainer(),
		isReaper: c.Labels[labelRole] == string(stack.Reaper),
	}
	if len(c.Names) > 0 {
		l.name = strings.TrimPrefix(c.Names[0], "/")
	}
	return l
}

// networkReleaseTimeout is how long Docker may take to release an empty network.
const networkReleaseTimeout = 20 * time.Second

// areOnlyNetworks reports whether no container is left.
func areOnlyNetworks(left []leftover) bool {
	return !slices.ContainsFunc(left, func(l leftover) bool { return l.kind != "network" })
}

// pendingUndo is a message to the reaper: undo a fault of a container after a time, unless it is cancelled first.
type pendingUndo struct {
	ID        int
	Container string
	Kind      stack.UndoKind
	NanoCPUs  int64 // of stack.RestoreLimit
	After     time.Duration
	Cancelled bool // cancels the message with this ID
	RunOver   bool // the run is over and creates nothing more
}

func (u pendingUndo) apply(ctx context.Context, cli *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch u.Kind { // errors do not matter: the container is removed at the end of the run
	case stack.Unfreeze:
		_, _ = cli.ContainerUnpause(ctx, u.Container, client.ContainerUnpauseOptions{})
	case stack.Restart:
		_, _ = cli.ContainerStart(ctx, u.Container, client.ContainerStartOptions{})
	case stack.RestoreLimit:
		_, _ = cli.ContainerUpdate(ctx, u.Container,
			client.ContainerUpdateOptions{Resources: &container.Resources{NanoCPUs: u.NanoCPUs}})
	}
}

// serveUndos applies undos when they are due, until alive ends. over reports whether lbproof said that the run is over;
// otherwise it was killed, maybe while the engine was creating something for it.
func serveUndos(ctx context.Context, cli *client.Client, alive io.Reader) (over bool) {
	timers := map[int]*time.Timer{}
	messages := json.NewDecoder(alive)
	for {
		var u pendingUndo
		if err := messages.Decode(&u); err != nil {
			for _, t := range timers {
				t.Stop()
			}
			return over
		}
		if over = over || u.RunOver; u.RunOver {
			continue
		}
		if t := timers[u.ID]; t != nil {
			t.Stop()
		}
		if !u.Cancelled {
			timers[u.ID] = time.AfterFunc(u.After, func() { u.apply(ctx, cli) })
		}
	}
}

// scheduleUndo tells the reaper to undo a fault, unless revoke is called before it is due.
func (s *Stack) scheduleUndo(u pendingUndo) (revoke func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastUndoID++
	u.ID = s.lastUndoID
	s.undos[u.ID] = u
	_ = json.NewEncoder(s.reaper.Conn).Encode(u) // if it fails, watchReaper sends it to the next reaper
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.undos, u.ID)
		_ = json.NewEncoder(s.reaper.Conn).Encode(pendingUndo{ID: u.ID, Cancelled: true})
	}
}

// lateObjectWindow is how long the reaper keeps looking for objects after lbproof was killed: the engine may still
// create what lbproof had just requested.
const lateObjectWindow = 10 * time.Second

// Reap is the reaper's main function. Until alive ends, it applies undos that are due. Then it removes everything with
// the run's label except the reaper itself, until nothing is left, Docker does not release a network, or a minute is
// over. A guard does the same, also removes the reaper, and exits when the reaper runs.
func Reap(ctx context.Context, alive io.Reader, run string, guard bool) error {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("connect to Docker: %w", err)
	}
	defer cli.Close()
	over := serveUndos(ctx, cli, alive)
	earliestEnd := time.Now()
	switch {
	case over && guard:
		return nil
	case !over:
		earliestEnd = earliestEnd.Add(lateObjectWindow)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	onlyNetworksSince := time.Now()
	for {
		left, err := listLeftovers(ctx, cli, run, guard)
		if err != nil || !areOnlyNetworks(left) {
			onlyNetworksSince = time.Now()
		}
		stuck := areOnlyNetworks(left) && time.Since(onlyNetworksSince) > networkReleaseTimeout
		done := len(left) == 0 || stuck
		if err == nil && time.Now().After(earliestEnd) && done {
			return nil
		}
		removeAll(ctx, cli, left)
		interval := 10 * time.Millisecond
		if len(left) == 0 {
			interval = 100 * time.Millisecond
		}
		if !sleep.For(ctx, interval) {
			return fmt.Errorf("clean up run %s: not removed: %s", run, describeLeftovers(left))
		}
	}
}

// maxParallelRemovals bounds concurrent removals of containers.
const maxParallelRemovals = 8

// removeAll tries once to remove containers, those in networks one at a time (see launch), and networks if no
// containers are left.
func removeAll(ctx context.Context, cli *client.Client, left []leftover) {
	networksOnly := areOnlyNetworks(left)
	var removing errgroup.Group
	removing.SetLimit(maxParallelRemovals)
	var oneByOne []leftover
	for _, l := range left {
		switch {
		case l.inNetwork, l.kind == "network" && networksOnly:
			oneByOne = append(oneByOne, l)
		case l.kind == "container":
			removing.Go(func() error { remove(ctx, cli, l); return nil })
		}
	}
	for _, l := range oneByOne {
		remove(ctx, cli, l)
	}
	_ = removing.Wait()
}

// remove tries once and ignores errors: the next round finds what is left.
func remove(ctx context.Context, cli *client.Client, l leftover) {
	if l.kind == "network" {
		_, _ = cli.NetworkRemove(ctx, l.id, client.NetworkRemoveOptions{})
		return
	}
	_, _ = cli.ContainerRemove(ctx, l.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}
