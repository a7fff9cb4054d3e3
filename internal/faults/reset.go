package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var reset = Fault{
	Name: plan.FaultReset, Roles: httpRoles,
	Doc:  "connections to the peer are reset in the middle of the answer",
	Args: []Arg{{"after", Size, "20", "bytes of the answer that pass"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		cut := agent.Stream{CutAfter: s.Args.size("after"), Reset: true}
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: cut}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: brokenResponse}) },
}

// brokenResponse are the ends of looks whose answers are.
var brokenResponse = []agent.Outcome{agent.Closed, agent.Malformed}
