package docker

import (
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

// engineSocket is where the reaper finds the engine: the reaper runs beside it, wherever the harness runs.
const engineSocket = "/var/run/docker.sock"

// startReaper starts the container that outlives the harness. The harness holds the reaper's standard input; when that
// ends, because Close closed it or because the harness died, the reaper removes everything with the run's label.
//
// Until the reaper runs, a process of this machine stands in for it: a harness that is killed between two of the
// engine's answers leaves a container that was made and that nobody starts any more.
func (s *Stack) startReaper(ctx context.Context) error {
	leave, err := s.startGuard()
	if err != nil {
		return err
	}
	defer leave()
	err = s.startReaperOnce(ctx)
	if errdefs.IsNotFound(err) { // a run of another lbproof has just removed the image, which no container used yet
		s.engine.forgetNodeImage()
		err = s.startReaperOnce(ctx)
	}
	return err
}

// startGuard starts a process that does the reaper's work if this one ends before leave is called.
func (s *Stack) startGuard() (leave func(), err error) {
	cmd := exec.Command(s.engine.Binary, "reaper", "--run", s.config.Run, "--guard")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends this one must not end that one
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("guard the reaper's start: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard the reaper's start: %w", err)
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
	if s.closed { // meanwhile
		s.reaper.Close()
	}
	s.reaperWatchers.Go(func() { s.watchReaper(attached.Reader) })
	return nil
}

// createReaper makes the reaper's container, which is not started yet.
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

// watchReaper waits until the reaper ends. Where it ended by itself, or somebody removed it, another takes its place, and is
// told what it was to do.
func (s *Stack) watchReaper(output io.Reader) {
	_, _ = io.Copy(io.Discard, output) // it says nothing; what matters is when it ends
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.startReaper(ctx); err != nil {
		s.engine.Progress(fmt.Sprintf("the reaper of run %s has ended, and no other can be started: %v; "+
			"lbproof removes the run itself when it is over", s.config.Run, err))
		return
	}
	s.engine.Progress("the reaper of run " + s.config.Run + " has ended before its time (killed, or out of memory?); " +
		"another has taken its place")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.undos {
		_ = json.NewEncoder(s.reaper.Conn).Encode(w) // one that has ended too is minded in its turn
	}
}

// reaperTimeout is after how long Close does the reaper's work, where that does nothing.
const reaperTimeout = 15 * time.Second

// Close removes everything that the run made. It works after ctx of the run has ended, and when the reaper does not. A
// network that Docker never lets go, though nothing is in it, is told of and no error: Docker forgets it when it is
// restarted.
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
		gone := !slices.ContainsFunc(left, func(l leftover) bool { return l.isReaper })
		if areOnlyNetworks(left) && time.Since(began) > networkReleaseTimeout {
			s.engine.Progress("Docker does not let go of " + describeLeftovers(left) + ", in which nothing is any more; " +
				"it is gone when Docker has been restarted")
			return nil
		}
		if gone || time.Since(began) > reaperTimeout {
			removeAll(ctx, s.engine.client, left)
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("clean up run %s: still there: %s", s.config.Run, describeLeftovers(left))
		}
	}
}

// leftover is what a run has made and not removed.
type leftover struct {
	kind      string // container or network
	id        string
	inNetwork bool // a container that is in a network by itself, not with another or in none
	isReaper  bool
}

func describeLeftovers(left []leftover) string {
	var all []string
	for _, l := range left {
		all = append(all, l.kind+" "+l.id)
	}
	return strings.Join(all, ", ")
}

// listLeftovers lists what carries the run's label.
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
		left = append(left, leftover{kind: "network", id: n.ID})
	}
	return left, nil
}

func newLeftover(c container.Summary) leftover {
	mode := container.NetworkMode(c.HostConfig.NetworkMode)
	return leftover{"container", c.ID, !mode.IsNone() && !mode.IsContainer(), c.Labels[labelRole] == string(stack.Reaper)}
}

// networkReleaseTimeout is how long Docker may take to let a network go.
const networkReleaseTimeout = 20 * time.Second

// areOnlyNetworks says whether no container is among what is left.
func areOnlyNetworks(left []leftover) bool {
	return !slices.ContainsFunc(left, func(l leftover) bool { return l.kind != "network" })
}

// pendingUndo is what the reaper does to a container if nobody has done it by a time: a fault that the harness should have
// healed, and did not because it hangs.
type pendingUndo struct {
	ID        int
	Container string
	Kind      stack.UndoKind
	NanoCPUs  int64 // of stack.Unlimit
	After     time.Duration
	Cancelled bool // it is no longer needed
	RunOver   bool // the run is: nothing is being made for it any more
}

func (w pendingUndo) apply(ctx context.Context, cli *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch w.Kind { // what fails here, the end of the run removes
	case stack.Unfreeze:
		_, _ = cli.ContainerUnpause(ctx, w.Container, client.ContainerUnpauseOptions{})
	case stack.Restart:
		_, _ = cli.ContainerStart(ctx, w.Container, client.ContainerStartOptions{})
	case stack.RestoreLimit:
		_, _ = cli.ContainerUpdate(ctx, w.Container,
			client.ContainerUpdateOptions{Resources: &container.Resources{NanoCPUs: w.NanoCPUs}})
	}
}

// serveUndos carries out wills that are due, until alive ends. over reports whether the run was, or the harness may have died
// while it made something.
func serveUndos(ctx context.Context, cli *client.Client, alive io.Reader) (over bool) {
	timers := map[int]*time.Timer{}
	wills := json.NewDecoder(alive)
	for {
		var w pendingUndo
		if err := wills.Decode(&w); err != nil {
			for _, t := range timers {
				t.Stop()
			}
			return over // however it ended, the harness is gone
		}
		if over = over || w.RunOver; w.RunOver {
			continue
		}
		if t := timers[w.ID]; t != nil {
			t.Stop()
		}
		if !w.Cancelled {
			timers[w.ID] = time.AfterFunc(w.After, func() { w.apply(ctx, cli) })
		}
	}
}

// scheduleUndo gives the reaper a will, unless revoke is called before its time is up.
func (s *Stack) scheduleUndo(w pendingUndo) (revoke func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastUndoID++
	w.ID = s.lastUndoID
	s.undos[w.ID] = w
	_ = json.NewEncoder(s.reaper.Conn).Encode(w) // one that has just ended is followed by another, which is told all
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.undos, w.ID)
		_ = json.NewEncoder(s.reaper.Conn).Encode(pendingUndo{ID: w.ID, Cancelled: true})
	}
}

// lateObjectWindow is how long the reaper looks whether something more of the run comes up, where the harness died: what it
// had just asked the engine for may be made after everything else is gone.
const lateObjectWindow = 10 * time.Second

// Reap waits until alive ends, and carries out meanwhile what the harness asked for and forgot. Then it removes
// everything with the run's label but the reaper itself, and tries again until nothing is left, or nothing but a
// network for long, or a minute is over. It is the reaper's whole life. A guard stands in for the reaper until that
// runs: it leaves when it is told that the run is over, and the reaper is among what it removes.
func Reap(ctx context.Context, alive io.Reader, run string, guard bool) error {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("connect to Docker: %w", err)
	}
	defer cli.Close()
	over := serveUndos(ctx, cli, alive)
	settled := time.Now()
	switch {
	case over && guard:
		return nil
	case !over:
		settled = settled.Add(lateObjectWindow)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	alone := time.Now() // since when there has been nothing but networks
	for {
		left, err := listLeftovers(ctx, cli, run, guard)
		if err != nil || !areOnlyNetworks(left) {
			alone = time.Now()
		}
		done := len(left) == 0 || areOnlyNetworks(left) && time.Since(alone) > networkReleaseTimeout
		if err == nil && time.Now().After(settled) && done {
			return nil
		}
		removeAll(ctx, cli, left)
		again := 10 * time.Millisecond
		if len(left) == 0 {
			again = 100 * time.Millisecond
		}
		if !sleep.For(ctx, again) {
			return fmt.Errorf("clean up run %s: still there: %s", run, describeLeftovers(left))
		}
	}
}

// maxParallelRemovals is how many containers are removed at a time.
const maxParallelRemovals = 8

// removeAll tries to remove containers, those in networks one after another (see launch), and networks once there are
// no containers.
func removeAll(ctx context.Context, cli *client.Client, left []leftover) {
	bare := areOnlyNetworks(left)
	var removing errgroup.Group
	removing.SetLimit(maxParallelRemovals)
	var inTurn []leftover
	for _, l := range left {
		switch {
		case l.inNetwork, l.kind == "network" && bare:
			inTurn = append(inTurn, l)
		case l.kind == "container":
			removing.Go(func() error { remove(ctx, cli, l); return nil })
		}
	}
	for _, l := range inTurn {
		remove(ctx, cli, l)
	}
	_ = removing.Wait()
}

// remove tries once; what stays is found again in the next round.
func remove(ctx context.Context, cli *client.Client, l leftover) {
	if l.kind == "network" {
		_, _ = cli.NetworkRemove(ctx, l.id, client.NetworkRemoveOptions{})
		return
	}
	_, _ = cli.ContainerRemove(ctx, l.id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}
