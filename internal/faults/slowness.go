package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slowness = Fault{
	Name: plan.FaultSlow, On: onBackends,
	Doc: "answers take longer, those to health checks as before",
	Args: []Arg{
		some,
		{"delay", Time, "1s", "before the answer"},
		{"jitter", Time, "0s", "mean of an exponential delay on top"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{
			Ratio: s.Args.share("share"), Delay: s.Args.time("delay"), Jitter: s.Args.time("jitter"),
		})
	},
	Shows: func(s Site) agent.Look {
		l := traffic(s, agent.Want{Slower: s.Args.time("delay") + s.Args.time("jitter")/10})
		l.Timeout += s.Args.time("delay") + 20*s.Args.time("jitter")
		return l
	},
}
