package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var hang = Fault{
	Name: plan.FaultHang, Roles: backendOnly,
	Doc:  "never responds to requests, only to health checks",
	Args: []Arg{shareArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Hang: true})
	},
	Detect: func(s Site) agent.Poll { return pollTraffic(s, agent.Expectation{Outcomes: noResponse}) },
}
