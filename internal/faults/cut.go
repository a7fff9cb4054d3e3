package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var cut = Fault{
	Name: plan.FaultCut, On: speakers,
	Doc:  "answers to the peer end after so many bytes, as if they were whole",
	Args: []Arg{{"after", Size, "100", "bytes of the answer that pass"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Relay, Stream: agent.Stream{After: s.Args.size("after")}}, false)
	},
	Shows: func(s Site) agent.Look { return ask(s, agent.Want{Ends: broken}) },
}
