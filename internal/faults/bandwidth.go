package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var bandwidth = Fault{
	Name: plan.FaultBandwidth, Roles: httpRoles,
	Doc: "limits the bandwidth between the node's ports and the peer",
	Args: []Arg{
		{"rate", Size, "64KiB", "bytes per second"},
		{"way", Choice, "out", "both, in, out: direction of packets, seen from the node"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		rate := agent.Shape{Rate: s.Args.size("rate")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: rate}, false)
	},
	Detect: func(s Site) agent.Poll {
		const minSize = 300 // bytes of a poll's response, including headers
		seconds := minSize / float64(s.Args.size("rate"))
		l := pollHTTP(s, agent.Expectation{MinDuration: time.Duration(seconds * float64(time.Second))})
		l.Timeout = 10 * time.Second
		return l
	},
}
