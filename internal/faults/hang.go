package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var hang = Fault{
	Name: plan.FaultHang, On: onBackends,
	Doc:  "requests get no answer, health checks do",
	Args: []Arg{some},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Hang: true})
	},
	Shows: func(s Site) agent.Look { return traffic(s, agent.Want{Ends: unanswered}) },
}
