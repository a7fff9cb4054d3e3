package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

var drain = Fault{
	Name: plan.FaultDrain, Roles: backendOnly,
	Doc: "fails health checks but not requests for a while, " +
		"then stops the process (SIGTERM), like a rolling restart",
	Args: []Arg{{"notice", Time, "5s", "how long health checks fail before the stop"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		unhealthy := backends.Behaviour{HealthOnly: true, Status: 503, For: s.Duration + undoGrace}
		if _, err := setBehaviour(ctx, s.Node, unhealthy); err != nil {
			return nil, err
		}
		if !sleep.For(ctx, s.Args.time("notice")) {
			_, err := setBehaviour(context.WithoutCancel(ctx), s.Node, backends.Behaviour{})
			return nil, errors.Join(context.Cause(ctx), err)
		}
		return stopProcess(ctx, s, "SIGTERM")
	},
	Detect: func(s Site) agent.Poll {
		return pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused}})
	},
}
