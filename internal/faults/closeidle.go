package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var closeIdle = Fault{
	Name: plan.FaultCloseIdle, Roles: backendOnly,
	Doc:  "closes a kept connection when its second request arrives, without a response: the race behind 502s",
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
