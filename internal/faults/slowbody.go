package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slowBody = Fault{
	Name: plan.FaultSlowBody, On: onBackends,
	Doc: "the body takes its time",
	Args: []Arg{
		some,
		{"time", Time, "2s", "from its first byte to its last"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Slow: s.Args.time("time")})
	},
	Shows: func(s Site) agent.Look {
		l := traffic(s, agent.Want{Slower: s.Args.time("time") / 2})
		l.Timeout += 2 * s.Args.time("time")
		return l
	},
}
