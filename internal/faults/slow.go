package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slow = Fault{
	Name: plan.FaultSlow, Roles: backendOnly,
	Doc: "delays responses, but not those to health checks",
	Args: []Arg{
		shareArg,
		{"delay", Time, "1s", "before the response"},
		{"jitter", Time, "0s", "mean of an additional exponential delay"},
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
