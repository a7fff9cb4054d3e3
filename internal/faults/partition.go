package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var partition = Fault{
	Name: plan.FaultPartition, On: anyNode,
	Doc:  "all packets between the node and its peer vanish, whatever they are about",
	Args: []Arg{way},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Drop, Way: s.Args.way()}, true)
	},
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: unanswered}) },
}
