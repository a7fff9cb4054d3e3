package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var flap = Fault{
	Name: plan.FaultFlap, Roles: backendOnly,
	Doc: "health checks fail and pass alternately; requests are not affected",
	Args: []Arg{
		{"every", Time, "4s", "period"},
		{"failing", Time, "2s", "failing part, at the start of the period"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{
			HealthOnly: true, Status: 503, Period: s.Args.time("every"), ActiveFor: s.Args.time("failing"),
		})
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Codes: []int{503}})
		l.GiveUpAfter += s.Args.time("every")
		l.MissesWhenHealed = int(s.Args.time("every") / l.Interval)
		return l
	},
}
