package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slowBody = Fault{
	Name: plan.FaultSlowBody, Roles: backendOnly,
	Doc: "sends the body slowly",
	Args: []Arg{
		shareArg,
		{"time", Time, "2s", "from first to last byte"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), BodyTime: s.Args.time("time")})
	},
	Detect: func(s Site) agent.Poll {
		l := pollTraffic(s, agent.Expectation{MinDuration: s.Args.time("time") / 2})
		l.Timeout += 2 * s.Args.time("time")
		return l
	},
}
