package stack

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/lb"
)

// socket is where the reaper finds the engine: the reaper runs beside it, wherever the harness runs.
const socket = "/var/run/docker.sock"

// startReaper starts the container that outlives the harness. The harness holds the reaper's standard input; when that
// ends, because Close closed it or because the harness died, the reaper removes everything with the run's label.
func (s *Stack) startReaper(ctx context.Context) error {
	found, err := s.docker.Image(ctx, lb.Image{})
	if err != nil {
		return err
	}
	source := socket
	if at, ok := strings.CutPrefix(s.docker.client.DaemonHost(), "unix://"); ok {
		source = at
	}
	made, err := s.docker.client.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image: found.Ref, Cmd: []string{"/lbproof", "reaper", "--run", s.run}, OpenStdin: true, StdinOnce: true, AttachStdin: true,
			Labels: map[string]string{labelRun: s.run, labelRole: roleReaper},
		},
		HostConfig: &container.HostConfig{
			AutoRemove: true, NetworkMode: "none", Binds: []string{source + ":" + socket},
			LogConfig: container.LogConfig{Type: "none"},
		},
	})
	if err != nil {
		return err
	}
	attached, err := s.docker.client.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{Stream: true, Stdin: true})
	if err != nil {
		return err
	}
	s.reaper = attached.HijackedResponse
	if _, err := s.docker.client.ContainerStart(ctx, made.ID, client.ContainerStartOptions{}); err != nil {
		s.reaper.Close()
		_, _ = s.docker.client.ContainerRemove(ctx, made.ID, client.ContainerRemoveOptions{Force: true})
		return err
	}
	return nil
}

// Close removes everything that the run made. It works after ctx of the run has ended.
func (s *Stack) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s.mu.Lock()
	for _, n := range s.nodes {
		if n.pod != nil {
			n.pod.close()
		}
	}
	s.mu.Unlock()
	s.reaper.Close()
	for {
		left, err := leftovers(ctx, s.docker.client, s.run, true)
		if err != nil {
			return fmt.Errorf("clean up run %s: %w", s.run, err)
		}
		if len(left) == 0 {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("clean up run %s: still there: %s", s.run, strings.Join(left, ", "))
		}
	}
}

// leftovers lists what carries the run's label.
func leftovers(ctx context.Context, cli *client.Client, run string, reaper bool) ([]string, error) {
	mine := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := cli.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	if err != nil {
		return nil, err
	}
	networks, err := cli.NetworkList(ctx, client.NetworkListOptions{Filters: mine})
	if err != nil {
		return nil, err
	}
	var left []string
	for _, c := range containers.Items {
		if reaper || c.Labels[labelRole] != roleReaper {
			left = append(left, "container "+c.ID)
		}
	}
	for _, n := range networks.Items {
		left = append(left, "network "+n.ID)
	}
	return left, nil
}

// Reap waits until alive ends, then removes everything with the run's label but the reaper itself, and tries again until
// nothing is left or a minute is over. It is the reaper's whole life.
func Reap(ctx context.Context, alive io.Reader, run string) error {
	cli, err := client.New(client.FromEnv)
	if err != nil {
		return fmt.Errorf("connect to Docker: %w", err)
	}
	defer cli.Close()
	_, _ = io.Copy(io.Discard, alive) // however it ends, the harness is gone
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		left, err := leftovers(ctx, cli, run, false)
		if err == nil && len(left) == 0 {
			return nil
		}
		removeAll(ctx, cli, left)
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("clean up run %s: still there: %s", run, strings.Join(left, ", "))
		}
	}
}

// removeAll tries to remove containers, and networks once there are none: all at once, but one after another where there are
// several networks (see inTurn).
func removeAll(ctx context.Context, cli *client.Client, left []string) {
	networks := 0
	for _, thing := range left {
		if strings.HasPrefix(thing, "network") {
			networks++
		}
	}
	var removing sync.WaitGroup
	for _, thing := range left {
		kind, id, _ := strings.Cut(thing, " ")
		if kind == "network" && networks < len(left) {
			continue // it cannot go before its containers
		}
		removing.Go(func() { remove(ctx, cli, kind, id) })
		if networks > 1 {
			removing.Wait()
		}
	}
	removing.Wait()
}

// remove tries once; what stays is found again in the next round.
func remove(ctx context.Context, cli *client.Client, kind, id string) {
	if kind == "network" {
		_, _ = cli.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
		return
	}
	_, _ = cli.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}
