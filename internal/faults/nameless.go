package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var nameless = Fault{
	Name: plan.FaultDNSFail, On: onBackends,
	Doc:  "the peer's resolver knows the node's name no more",
	Args: []Arg{{"how", Choice, "fail", "fail, mute: it says that it failed, or nothing"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		how := s.Args["how"]
		return answerFor(ctx, s, agent.Names{Name: s.Node.Spec.Host(), Fail: how == "fail", Mute: how == "mute"})
	},
	Shows: func(s Site) agent.Look { return named(s, agent.Want{Ends: []agent.End{agent.Unnamed}}) },
}
