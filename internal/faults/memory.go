package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var memory = Fault{
	Name: plan.FaultMemory, Roles: []plan.Role{plan.Backend}, Needs: []stack.HostFeature{stack.MemoryLimits},
	SkipHealCheck: true,
	Doc:           "allocates memory until the kernel kills the process; its container restarts it",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		go func() { _, _ = s.Node.Call(ctx, "/exhaust", nil) }() // never responds
		return func(context.Context) error { return nil }, nil
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused, agent.Closed}})
		l.GiveUpAfter = 30 * time.Second // filling memory is slow with limited CPU
		return l
	},
}
