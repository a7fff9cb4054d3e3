package faults

import (
	"context"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var loss = Fault{
	Name: plan.FaultLoss, On: anyNode,
	Doc: "packets between the peer and the node's ports are lost, a share of them at random or every nth",
	Args: []Arg{
		{"share", Share, "10%", "of the packets, at random"},
		{"every", Text, "", "instead: 10 for every tenth packet"},
		way,
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		shape := agent.Shape{Loss: s.Args.share("share")}
		if n := s.Args.count("every"); n > 0 {
			shape = agent.Shape{Every: n}
		}
		return enforce(ctx, s, agent.Rule{Do: agent.Delay, Way: s.Args.way(), Shape: shape}, false)
	},
	Shows: func(s Site) agent.Look { // one lost packet costs a look 200 ms, the shortest time in which TCP repeats
		l := ask(s, agent.Want{Slower: 150 * time.Millisecond})
		l.Timeout = 5 * time.Second
		l.Misses = misses(s.Args.share("share"))
		if n := s.Args.count("every"); n > 0 {
			l.Misses = 2 * n
		}
		return l
	},
}
