package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var synLoss = Fault{
	Name: plan.FaultSynLoss, Roles: anyRole,
	Doc: "a share of the packets that ask for a connection is lost: " +
		"those connections come about a second later, or not at all",
	Args: []Arg{{"share", Share, "50%", "of them"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		loss := agent.Shape{Loss: s.Args.share("share")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: agent.In, SYNOnly: true, Shape: loss}, false)
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Outcomes: noResponse})
		l.MissesWhenHealed = missesWhenHealed(s.Args.share("share"))
		return l
	},
}
