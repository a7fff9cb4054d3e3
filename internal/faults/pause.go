package faults

import (
	"context"
	"errors"
	"fmt"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var pause = Fault{
	Name: plan.FaultPause, On: anyNode, Needs: []stack.Ability{stack.Freeze},
	Doc: "freezes the node: its kernel still accepts connections, its processes never answer",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		resume, err := s.Node.Pause(ctx, s.Expires)
		if err != nil {
			return nil, err
		}
		if err := frozen(ctx, s.Node, true); err != nil {
			return nil, errors.Join(err, resume(ctx))
		}
		return func(ctx context.Context) error {
			if err := resume(ctx); err != nil {
				return err
			}
			return frozen(ctx, s.Node, false)
		}, nil
	},
	Shows: func(s Site) agent.Look { return ask(s, agent.Want{Ends: unanswered}) },
}

// frozen looks whether the order was carried out.
func frozen(ctx context.Context, node *stack.Member, want bool) error {
	is, err := node.Paused(ctx)
	if err != nil {
		return fmt.Errorf("see whether the node is paused: %w", err)
	}
	if is != want {
		return fmt.Errorf("the node is paused: %t, after it was ordered: %t", is, want)
	}
	return nil
}
