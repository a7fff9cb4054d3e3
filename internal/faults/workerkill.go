package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/internal/plan"
)

var workerKill = Fault{
	Name: plan.FaultWorkerKill, Roles: []plan.Role{plan.Balancer}, NeedsMaster: true, SkipHealCheck: true,
	Doc: "kills one of the balancer's worker processes; its master starts another",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		before, err := s.Node.Processes(ctx)
		if err != nil {
			return nil, err
		}
		if len(before) == 0 || s.Node.Spec.ReloadSignal == "" {
			return nil, errors.New("the balancer has no worker process separate from its master")
		}
		if err := s.Node.KillWorker(ctx); err != nil {
			return nil, err
		}
		return func(context.Context) error { return nil }, s.awaitNewWorker(ctx, before)
	},
}
