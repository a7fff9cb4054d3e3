package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var stop = Fault{
	Name: plan.FaultStop, Roles: anyRole,
	Doc: "stops the process (SIGTERM), which finishes requests in flight",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return stopProcess(ctx, s, "SIGTERM")
	},
	Detect: func(s Site) agent.Poll {
		return pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused}})
	},
}
