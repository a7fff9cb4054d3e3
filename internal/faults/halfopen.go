package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var halfOpen = Fault{
	Name: plan.FaultHalfOpen, Roles: anyRole,
	Doc: "accepts connections from the peer, but never sends anything",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: agent.Stream{Stall: true}}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: noResponse}) },
}
