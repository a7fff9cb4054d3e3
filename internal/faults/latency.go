package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var latency = Fault{
	Name: plan.FaultLatency, Roles: anyRole,
	Doc: "delays packets between the peer and the node's ports",
	Args: []Arg{
		{"delay", Time, "50ms", "of every packet"},
		{"jitter", Time, "0s", "half the width (uniform), standard deviation (normal), scale (pareto)"},
		{"spread", Choice, "uniform", "uniform, normal, pareto: distribution of the jitter"},
		{"way", Choice, "in", "both, in, out: direction of packets, seen from the node"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: agent.Shape{
			Delay: s.Args.time("delay"), Jitter: s.Args.time("jitter"),
			Distribution: agent.Distribution(s.Args["spread"]),
		}}, false)
	},
	Detect: func(s Site) agent.Poll { // a poll takes the delay at least twice: to connect and to request
		l := pollHealth(s, agent.Expectation{MinDuration: s.Args.time("delay")})
		l.Timeout += 20 * (s.Args.time("delay") + s.Args.time("jitter"))
		return l
	},
}
