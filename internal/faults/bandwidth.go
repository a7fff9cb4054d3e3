package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var bandwidth = Fault{
	Name: plan.FaultBandwidth, On: speakers,
	Doc: "packets between the node's ports and the peer queue up at a rate",
	Args: []Arg{
		{"rate", Size, "64KiB", "per second"},
		{"way", Choice, "out", "both, in, out: of packets, seen from the node"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		rate := agent.Shape{Rate: s.Args.size("rate")}
		return enforce(ctx, s, agent.Rule{Do: agent.Delay, Way: s.Args.way(), Shape: rate}, false)
	},
	Shows: func(s Site) agent.Look {
		const least = 300 // bytes of a look's answer, with all headers
		l := ask(s, agent.Want{Slower: time.Duration(least * float64(time.Second) / float64(s.Args.size("rate")))})
		l.Timeout = 10 * time.Second
		return l
	},
}
