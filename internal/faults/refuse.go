package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var refuse = Fault{
	Name: plan.FaultRefuse, On: anyNode,
	Doc: "connections from the peer are refused, and those that are open are reset",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Refuse}, false)
	},
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: []agent.End{agent.Refused}}) },
}
