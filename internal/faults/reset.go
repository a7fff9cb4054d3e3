package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var reset = Fault{
	Name: plan.FaultReset, On: speakers,
	Doc:  "connections to the peer are reset in the middle of the answer",
	Args: []Arg{{"after", Size, "20", "bytes of the answer that pass"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		cut := agent.Stream{After: s.Args.size("after"), Reset: true}
		return enforce(ctx, s, agent.Rule{Do: agent.Relay, Stream: cut}, false)
	},
	Shows: func(s Site) agent.Look { return ask(s, agent.Want{Ends: broken}) },
}

// broken are the ends of looks whose answers are.
var broken = []agent.End{agent.Closed, agent.Garbled}
