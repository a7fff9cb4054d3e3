package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var kill = Fault{
	Name: plan.FaultKill, On: anyNode,
	Doc:   "ends the process at once (SIGKILL); its host goes on and refuses connections",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) { return down(ctx, s, "SIGKILL") },
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: []agent.End{agent.Refused}}) },
}

// down ends the node's process with a signal. What it returns brings it back; that is nil only where nothing was done.
func down(ctx context.Context, s Site, signal string) (func(context.Context) error, error) {
	return s.Node.Kill(ctx, signal, s.Expires)
}
