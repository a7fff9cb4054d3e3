package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var synLoss = Fault{
	Name: plan.FaultSynLoss, On: anyNode,
	Doc: "a share of the packets that ask for a connection is lost: " +
		"those connections come about a second later, or not at all",
	Args: []Arg{{"share", Share, "50%", "of them"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		loss := agent.Shape{Loss: s.Args.share("share")}
		return enforce(ctx, s, agent.Rule{Do: agent.Delay, Way: agent.In, Opens: true, Shape: loss}, false)
	},
	Shows: func(s Site) agent.Look {
		l := look(s, agent.Want{Ends: unanswered})
		l.Misses = misses(s.Args.share("share"))
		return l
	},
}
