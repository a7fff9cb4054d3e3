package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var stop = Fault{
	Name: plan.FaultStop, On: anyNode,
	Doc:   "asks the process to end (SIGTERM): it takes no more connections and finishes what it has begun",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) { return down(ctx, s, "SIGTERM") },
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: []agent.End{agent.Refused}}) },
}
