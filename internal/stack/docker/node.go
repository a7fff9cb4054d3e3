package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/client"
)

// Node is a container of the run that faults may break. It can name no container that is not the run's own.
type Node struct {
	stack   *Stack
	name    string
	expires time.Duration
	revoke  *func() // of what the reaper was told; the node's copies share it
}

// Node gives a started node by its name.
func (s *Stack) Node(name string) Node { return Node{stack: s, name: name, revoke: new(func())} }

// Expiring is the node to which nothing is done for longer than a time: the reaper takes it back then, whatever has become
// of the harness.
func (n Node) Expiring(after time.Duration) Node {
	n.expires = after
	return n
}

// settled tells the reaper that a fault was taken back.
func (n Node) settled() {
	if *n.revoke != nil {
		(*n.revoke)()
		*n.revoke = nil
	}
}

func (n Node) id() (string, error) {
	found := n.stack.node(n.name)
	if found == nil {
		return "", fmt.Errorf("the run has no node %s", n.name)
	}
	return found.container.GetContainerID(), nil
}

// Pause freezes every process of the node.
func (n Node) Pause(ctx context.Context) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	if *n.revoke, err = n.bequeath(unpause, 0); err != nil {
		return err
	}
	_, err = n.stack.docker.client.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	return err
}

// Unpause lets them go on.
func (n Node) Unpause(ctx context.Context) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	if _, err = n.stack.docker.client.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{}); err == nil {
		n.settled()
	}
	return err
}

// Paused says whether they are frozen now.
func (n Node) Paused(ctx context.Context) (bool, error) {
	id, err := n.id()
	if err != nil {
		return false, err
	}
	info, err := n.stack.docker.client.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	return info.Container.State.Paused, nil
}
