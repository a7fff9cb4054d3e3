package faults

import (
	"context"
	"fmt"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var cpu = Fault{
	Name: plan.FaultCPU, Roles: anyRole, Needs: []stack.HostFeature{stack.CPULimits},
	Doc:  "limits the node's CPU, without a restart",
	Args: []Arg{{"cores", Cores, "0.05", "CPU limit"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		want := s.Args.cores("cores")
		restore, err := s.Node.LimitCPU(ctx, want, s.UndoAfter)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			was, err := restore(ctx)
			if err == nil && was != want {
				err = fmt.Errorf("the CPU limit was %g cores instead of %g", was, want)
			}
			return err
		}, nil
	},
}
