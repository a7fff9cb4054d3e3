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
	Doc: "health checks fail for a while, requests do not; " +
		"then the process is asked to end (SIGTERM), as a rolling restart does it",
	Args: []Arg{{"notice", Time, "5s", "how long health checks fail first"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		if _, err := setBehaviour(ctx, s.Node, backends.Behaviour{HealthOnly: true, Status: 503, For: s.Duration + undoGrace}); err != nil {
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
