package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/internal/plan"
)

var restart = Fault{
	Name: plan.FaultRestart, Roles: anyRole, SkipHealCheck: true,
	Doc: "stops the process (SIGTERM) and starts it again at once",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		undo, err := stopProcess(ctx, s, "SIGTERM")
		if err != nil {
			return nil, err
		}
		if err := undo(ctx); err != nil {
			return nil, errors.Join(err, undo(context.WithoutCancel(ctx)))
		}
		return func(context.Context) error { return nil }, nil
	},
}
