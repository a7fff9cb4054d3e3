package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var refuse = Fault{
	Name: plan.FaultRefuse, Roles: anyRole,
	Doc: "refuses new connections from the peer and resets open ones",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Refuse}, false)
	},
	Detect: func(s Site) agent.Poll {
		return pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused}})
	},
}
