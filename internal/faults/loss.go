package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var loss = Fault{
	Name: plan.FaultLoss, Roles: anyRole,
	Doc: "drops packets between the peer and the node's ports, at random or every nth",
	Args: []Arg{
		{"share", Share, "10%", "of packets, at random"},
		{"every", Text, "", "every nth packet instead (e.g. 10)"},
		directionArg,
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		shape := agent.Shape{Loss: s.Args.share("share")}
		if n := s.Args.count("every"); n > 0 {
			shape = agent.Shape{DropEvery: n}
		}
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: shape}, false)
	},
	Detect: func(s Site) agent.Poll { // a lost packet costs a poll 200 ms, TCP's minimum retransmission timeout
		l := pollHTTP(s, agent.Expectation{MinDuration: 150 * time.Millisecond})
		l.Timeout = 5 * time.Second
		l.MissesWhenHealed = missesWhenHealed(s.Args.share("share"))
		if n := s.Args.count("every"); n > 0 {
			l.MissesWhenHealed = 2 * n
		}
		return l
	},
}
