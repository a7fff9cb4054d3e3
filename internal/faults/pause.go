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
	Name: plan.FaultPause, Roles: anyRole, Needs: []stack.HostFeature{stack.Freeze},
	Doc: "freezes the node: its kernel accepts connections, its processes never respond",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		resume, err := s.Node.Pause(ctx, s.UndoAfter)
		if err != nil {
			return nil, err
		}
		if err := confirmFrozen(ctx, s.Node, true); err != nil {
			return nil, errors.Join(err, resume(ctx))
		}
		return func(ctx context.Context) error {
			if err := resume(ctx); err != nil {
				return err
			}
			return confirmFrozen(ctx, s.Node, false)
		}, nil
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: noResponse}) },
}

// confirmFrozen returns an error unless the node is in the wanted state.
func confirmFrozen(ctx context.Context, node *stack.Member, want bool) error {
	is, err := node.IsPaused(ctx)
	if err != nil {
		return fmt.Errorf("check whether the node is paused: %w", err)
	}
	if is != want {
		return fmt.Errorf("the node's paused state is %t instead of %t", is, want)
	}
	return nil
}
