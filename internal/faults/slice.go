package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slice = Fault{
	Name: plan.FaultSlice, Roles: httpRoles,
	Doc: "sends responses to the peer in small pieces",
	Args: []Arg{
		{"bytes", Size, "16", "per piece"},
		{"pause", Time, "5ms", "after each piece"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		pieces := agent.Stream{ChunkSize: int(s.Args.size("bytes")), Pause: s.Args.time("pause")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: pieces}, false)
	},
	Detect: func(s Site) agent.Poll {
		l := pollHTTP(s, agent.Expectation{MinDuration: s.Args.time("pause")})
		l.Timeout = 5 * time.Second
		return l
	},
}
