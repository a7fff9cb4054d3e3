package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var partition = Fault{
	Name: plan.FaultPartition, Roles: anyRole,
	Doc:  "drops all packets between the node and its peer",
	Args: []Arg{directionArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Drop, Direction: s.Args.direction()}, true)
	},
	Detect: func(s Site) agent.Poll { return pollHealth(s, agent.Expectation{Outcomes: noResponse}) },
}
