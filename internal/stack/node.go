package stack

import (
	"context"
	"fmt"

	"github.com/moby/moby/client"
)

// Node is a container of the run that faults may break. It can name no container that is not the run's own.
type Node struct {
	stack *Stack
	name  string
}

// Node gives a started node by its name.
func (s *Stack) Node(name string) Node { return Node{s, name} }

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
	_, err = n.stack.docker.client.ContainerPause(ctx, id, client.ContainerPauseOptions{})
	return err
}

// Unpause lets them go on.
func (n Node) Unpause(ctx context.Context) error {
	id, err := n.id()
	if err != nil {
		return err
	}
	_, err = n.stack.docker.client.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
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
