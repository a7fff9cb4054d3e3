package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var early = Fault{
	Name: plan.FaultEarlyClose, On: onBackends,
	Doc:  "the connection ends in the middle of the body",
	Args: []Arg{some},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Early: true})
	},
	Shows: func(s Site) agent.Look { return traffic(s, agent.Want{Ends: broken}) },
}
