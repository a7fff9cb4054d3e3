package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var cut = Fault{
	Name: plan.FaultCut, Roles: httpRoles,
	Doc:  "closes connections to the peer within a response, as if it were complete",
	Args: []Arg{{"after", Size, "100", "bytes of the response before the close"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		cut := agent.Stream{CutAfter: s.Args.size("after")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: cut}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: brokenResponse}) },
}
