package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var memory = Fault{
	Name: plan.FaultMemory, On: []plan.Role{plan.Backend}, Needs: []stack.Ability{stack.OOM}, Lasting: true,
	Doc: "the process takes memory until the kernel kills it; its container brings it back",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		go func() { _, _ = s.Node.Call(ctx, "/exhaust", nil) }() // it has no answer
		return func(context.Context) error { return nil }, nil
	},
	Shows: func(s Site) agent.Look {
		l := look(s, agent.Want{Ends: []agent.End{agent.Refused, agent.Closed}})
		l.Within = 30 * time.Second // at a limited processor, memory fills slowly
		return l
	},
}
