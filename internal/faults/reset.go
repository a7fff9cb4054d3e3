package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var reset = Fault{
	Name: plan.FaultReset, Roles: httpRoles,
	Doc:  "resets connections to the peer within a response",
	Args: []Arg{{"after", Size, "20", "bytes of the response before the reset"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		cut := agent.Stream{CutAfter: s.Args.size("after"), Reset: true}
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: cut}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: brokenResponse}) },
}

// brokenResponse are the outcomes of polls with a broken response.
var brokenResponse = []agent.Outcome{agent.Closed, agent.Malformed}
