package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var earlyClose = Fault{
	Name: plan.FaultEarlyClose, Roles: backendOnly,
	Doc:  "closes connections in the middle of the body",
	Args: []Arg{shareArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), EarlyClose: true})
	},
	Detect: func(s Site) agent.Poll { return pollTraffic(s, agent.Expectation{Outcomes: brokenResponse}) },
}
