package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/internal/plan"
)

var restart = Fault{
	Name: plan.FaultRestart, On: anyNode, Lasting: true,
	Doc: "asks the process to end (SIGTERM) and starts it again as soon as it has",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		undo, err := down(ctx, s, "SIGTERM")
		if err != nil {
			return nil, err
		}
		if err := undo(ctx); err != nil {
			return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
		return func(context.Context) error { return nil }, nil
	},
}
