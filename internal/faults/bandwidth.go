package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var bandwidth = Fault{
	Name: plan.FaultBandwidth, Roles: httpRoles,
	Doc: "packets between the node's ports and the peer queue up at a rate",
	Args: []Arg{
		{"rate", Size, "64KiB", "per second"},
		{"way", Choice, "out", "both, in, out: of packets, seen from the node"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		rate := agent.Shape{Rate: s.Args.size("rate")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: rate}, false)
	},
	Detect: func(s Site) agent.Poll {
		const least = 300 // bytes of a look's answer, with all headers
		l := pollHTTP(s, agent.Expectation{MinDuration: time.Duration(least * float64(time.Second) / float64(s.Args.size("rate")))})
		l.Timeout = 10 * time.Second
		return l
	},
}
