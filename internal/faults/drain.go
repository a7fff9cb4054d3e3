package faults

import (
	"context"
	"errors"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

var drain = Fault{
	Name: plan.FaultDrain, On: onBackends,
	Doc: "health checks fail for a while, requests do not; " +
		"then the process is asked to end (SIGTERM), as a rolling restart does it",
	Args: []Arg{{"notice", Time, "5s", "how long health checks fail first"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		if _, err := tell(ctx, s.Node, backends.Behaviour{Health: true, Status: 503, For: s.For + grace}); err != nil {
			return nil, err
		}
		if !sleep.For(ctx, s.Args.time("notice")) {
			_, err := tell(context.WithoutCancel(ctx), s.Node, backends.Behaviour{})
			return nil, errors.Join(context.Cause(ctx), err)
		}
		return down(ctx, s, "SIGTERM")
	},
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Ends: []agent.End{agent.Refused}}) },
}
