package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var loss = Fault{
	Name: plan.FaultLoss, Roles: anyRole,
	Doc: "packets between the peer and the node's ports are lost, a share of them at random or every nth",
	Args: []Arg{
		{"share", Share, "10%", "of the packets, at random"},
		{"every", Text, "", "instead: 10 for every tenth packet"},
		directionArg,
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		shape := agent.Shape{Loss: s.Args.share("share")}
		if n := s.Args.count("every"); n > 0 {
			shape = agent.Shape{DropEvery: n}
		}
		return applyRule(ctx, s, agent.Rule{Action: agent.Delay, Direction: s.Args.direction(), Shape: shape}, false)
	},
	Detect: func(s Site) agent.Poll { // one lost packet costs a look 200 ms, the shortest time in which TCP repeats
		l := pollHTTP(s, agent.Expectation{MinDuration: 150 * time.Millisecond})
		l.Timeout = 5 * time.Second
		l.MissesWhenHealed = missesWhenHealed(s.Args.share("share"))
		if n := s.Args.count("every"); n > 0 {
			l.MissesWhenHealed = 2 * n
		}
		return l
	},
}
