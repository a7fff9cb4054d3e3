package faults

import (
	"context"
	"fmt"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var cpu = Fault{
	Name: plan.FaultCPU, Roles: anyRole, Needs: []stack.HostFeature{stack.CPULimits},
	Doc:  "the node has less of the processor, from now on and without a restart",
	Args: []Arg{{"cores", Cores, "0.05", "its limit"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		want := s.Args.cores("cores")
		restore, err := s.Node.LimitCPU(ctx, want, s.UndoAfter)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error {
			was, err := restore(ctx)
			if err == nil && was != want {
				err = fmt.Errorf("its limit was %g cores when it should have been %g", was, want)
			}
			return err
		}, nil
	},
}
