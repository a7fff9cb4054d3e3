package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var closeIdle = Fault{
	Name: plan.FaultCloseIdle, On: onBackends,
	Doc:  "a kept connection is closed, without an answer, when its second request comes: the race that makes 502s",
	Args: []Arg{some},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Close: true})
	},
	Shows: func(s Site) agent.Look {
		l := traffic(s, agent.Want{Ends: broken})
		l.Twice = true
		return l
	},
}
