package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var blackhole = Fault{
	Name: plan.FaultBlackhole, On: anyNode,
	Doc:  "packets between the peer and the node's ports vanish without a trace",
	Args: []Arg{way},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Drop, Way: s.Args.way()}, false)
	},
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: unanswered}) },
}
