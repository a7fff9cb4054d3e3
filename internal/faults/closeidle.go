package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var closeIdle = Fault{
	Name: plan.FaultCloseIdle, Roles: backendOnly,
	Doc:  "a kept connection is closed, without an answer, when its second request comes: the race that makes 502s",
	Args: []Arg{shareArg},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), CloseReused: true})
	},
	Detect: func(s Site) agent.Poll {
		l := pollTraffic(s, agent.Expectation{Outcomes: brokenResponse})
		l.SecondRequest = true
		return l
	},
}
