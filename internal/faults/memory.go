package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var memory = Fault{
	Name: plan.FaultMemory, Roles: []plan.Role{plan.Backend}, Needs: []stack.HostFeature{stack.MemoryLimits}, SkipHealCheck: true,
	Doc: "the process takes memory until the kernel kills it; its container brings it back",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		go func() { _, _ = s.Node.Call(ctx, "/exhaust", nil) }() // it has no answer
		return func(context.Context) error { return nil }, nil
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused, agent.Closed}})
		l.GiveUpAfter = 30 * time.Second // at a limited processor, memory fills slowly
		return l
	},
}
