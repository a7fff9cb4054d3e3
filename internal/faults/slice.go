package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slice = Fault{
	Name: plan.FaultSlice, On: speakers,
	Doc: "answers reach the peer in small pieces",
	Args: []Arg{
		{"bytes", Size, "16", "of a piece"},
		{"pause", Time, "5ms", "after each"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		pieces := agent.Stream{Slice: int(s.Args.size("bytes")), Pause: s.Args.time("pause")}
		return enforce(ctx, s, agent.Rule{Do: agent.Relay, Stream: pieces}, false)
	},
	Shows: func(s Site) agent.Look {
		l := ask(s, agent.Want{Slower: s.Args.time("pause")})
		l.Timeout = 5 * time.Second
		return l
	},
}
