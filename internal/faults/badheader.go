package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var badHeader = Fault{
	Name: plan.FaultBadHeader, Roles: backendOnly,
	Doc:  "responses contain an invalid header line",
	Args: []Arg{shareArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), BadHeader: true})
	},
	Detect: func(s Site) agent.Poll { return pollTraffic(s, agent.Expectation{Outcomes: brokenResponse}) },
}
