package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slow = Fault{
	Name: plan.FaultSlow, Roles: backendOnly,
	Doc: "answers take longer, those to health checks as before",
	Args: []Arg{
		shareArg,
		{"delay", Time, "1s", "before the answer"},
		{"jitter", Time, "0s", "mean of an exponential delay on top"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{
			Ratio: s.Args.share("share"), Delay: s.Args.time("delay"), Jitter: s.Args.time("jitter"),
		})
	},
	Detect: func(s Site) agent.Poll {
		l := pollTraffic(s, agent.Expectation{MinDuration: s.Args.time("delay") + s.Args.time("jitter")/10})
		l.Timeout += s.Args.time("delay") + 20*s.Args.time("jitter")
		return l
	},
}
