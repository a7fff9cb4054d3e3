package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slowClose = Fault{
	Name: plan.FaultSlowClose, Roles: []plan.Role{plan.Backend},
	Doc:  "delays the close of connections",
	Args: []Arg{{"delay", Time, "500ms", "before the close"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		late := agent.Stream{Pause: s.Args.time("delay")}
		return applyRule(ctx, s, agent.Rule{Action: agent.Relay, Stream: late}, false)
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{MinDuration: s.Args.time("delay")})
		l.UntilClose = true
		l.Timeout += s.Args.time("delay")
		return l
	},
}
