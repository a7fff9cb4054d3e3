package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var halfOpen = Fault{
	Name: plan.FaultHalfOpen, On: anyNode,
	Doc: "connections from the peer are accepted and nothing ever comes back",
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Relay, Stream: agent.Stream{Hold: true}}, false)
	},
	Shows: func(s Site) agent.Look { return ask(s, agent.Want{Ends: unanswered}) },
}
