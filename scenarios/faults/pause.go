package faults

import (
	"context"
	"errors"
	"fmt"
)

var pause = Fault{
	Name:   "pause",
	Doc:    "freezes the node: its kernel still accepts connections, its processes never answer",
	Inject: injectPause,
}

func injectPause(ctx context.Context, node Node) (func(context.Context) error, error) {
	if err := node.Pause(ctx); err != nil {
		return nil, fmt.Errorf("pause: %w", err)
	}
	heal := func(ctx context.Context) error {
		if err := node.Unpause(ctx); err != nil {
			return fmt.Errorf("unpause: %w", err)
		}
		return sure(ctx, node, false)
	}
	if err := sure(ctx, node, true); err != nil {
		return nil, errors.Join(err, heal(ctx))
	}
	return heal, nil
}

// sure looks whether the order was carried out.
func sure(ctx context.Context, node Node, paused bool) error {
	is, err := node.Paused(ctx)
	if err != nil {
		return fmt.Errorf("see whether the node is paused: %w", err)
	}
	if is != paused {
		return fmt.Errorf("the node is paused: %t, after it was ordered: %t", is, paused)
	}
	return nil
}
