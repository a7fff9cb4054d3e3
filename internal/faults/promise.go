package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var promise = Fault{
	Name: plan.FaultWrongLength, On: onBackends,
	Doc: "Content-Length is not the length of the body",
	Args: []Arg{
		some,
		{"bytes", Text, "100", "by which it is too large, or with a minus too small"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Promise: s.Args.count("bytes")})
	},
	Shows: func(s Site) agent.Look {
		if s.Args.count("bytes") < 0 {
			return traffic(s, agent.Want{Ends: []agent.End{agent.Garbled}})
		}
		return traffic(s, agent.Want{Ends: broken})
	},
}
