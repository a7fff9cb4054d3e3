package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var badHeader = Fault{
	Name: plan.FaultBadHeader, On: onBackends,
	Doc:  "the answer has a header line that is none",
	Args: []Arg{some},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Header: true})
	},
	Shows: func(s Site) agent.Look { return traffic(s, agent.Want{Ends: broken}) },
}
