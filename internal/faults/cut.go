package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var cut = Fault{
	Name: plan.FaultCut, Roles: httpRoles,
	Doc:  "answers to the peer end after so many bytes, as if they were whole",
	Args: []Arg{{"after", Size, "100", "bytes of the answer that pass"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: agent.Stream{CutAfter: s.Args.size("after")}}, false)
	},
	Detect: func(s Site) agent.Poll { return pollHTTP(s, agent.Expectation{Outcomes: brokenResponse}) },
}
