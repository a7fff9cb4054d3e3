package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var latency = Fault{
	Name: plan.FaultLatency, Roles: anyRole,
	Doc: "packets between the peer and the node's ports are late",
	Args: []Arg{
		{"delay", Time, "50ms", "of every packet"},
		{"jitter", Time, "0s", "half the width of uniform, standard deviation of normal, scale of pareto"},
		{"spread", Choice, "uniform", "uniform, normal, pareto: how the jitter is spread"},
		{"way", Choice, "in", "both, in, out: of packets, seen from the node"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: agent.Shape{
			Delay: s.Args.time("delay"), Jitter: s.Args.time("jitter"), Distribution: agent.Distribution(s.Args["spread"]),
		}}, false)
	},
	Detect: func(s Site) agent.Poll { // a look takes the delay twice or more: to connect and to ask
		l := pollHealth(s, agent.Expectation{MinDuration: s.Args.time("delay")})
		l.Timeout += 20 * (s.Args.time("delay") + s.Args.time("jitter"))
		return l
	},
}
