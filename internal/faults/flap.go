package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var flap = Fault{
	Name: plan.FaultFlap, On: onBackends,
	Doc: "health checks fail and pass by turns, requests are answered as before",
	Args: []Arg{
		{"every", Time, "4s", "one turn"},
		{"failing", Time, "2s", "of it, at its beginning"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{
			Health: true, Status: 503, Every: s.Args.time("every"), On: s.Args.time("failing"),
		})
	},
	Shows: func(s Site) agent.Look {
		l := look(s, agent.Want{Codes: []int{503}})
		l.Within += s.Args.time("every")
		l.Misses = int(s.Args.time("every") / l.Every)
		return l
	},
}
