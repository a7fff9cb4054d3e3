package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var blackhole = Fault{
	Name: plan.FaultBlackhole, Roles: anyRole,
	Doc:  "drops packets between the peer and the node's ports",
	Args: []Arg{directionArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Drop, Direction: s.Args.direction()}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHealth(s, agent.Expectation{Outcomes: noResponse}) },
}
