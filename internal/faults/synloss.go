package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var synLoss = Fault{
	Name: plan.FaultSynLoss, Roles: anyRole,
	Doc: "drops a share of the packets that open connections: " +
		"these connections open a second later, or not at all",
	Args: []Arg{{"share", Share, "50%", "of these packets"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		loss := agent.Shape{Loss: s.Args.share("share")}
		rule := agent.Rule{Action: agent.Delay, Direction: agent.In, SYNOnly: true, Shape: loss}
		return applyRule(ctx, s, rule, false)
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Outcomes: noResponse})
		l.MissesWhenHealed = missesWhenHealed(s.Args.share("share"))
		return l
	},
}
