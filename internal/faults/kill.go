package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var kill = Fault{
	Name: plan.FaultKill, Roles: anyRole,
	Doc: "kills the process (SIGKILL); its host stays up and refuses connections",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return stopProcess(ctx, s, "SIGKILL")
	},
	Detect: func(s Site) agent.Poll {
		return pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused}})
	},
}

// stopProcess ends the node's process with a signal. The returned function starts it again; it is nil only if nothing
// was done.
func stopProcess(ctx context.Context, s Site, signal string) (func(context.Context) error, error) {
	return s.Node.Kill(ctx, signal, s.UndoAfter)
}
