package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var slowClose = Fault{
	Name: plan.FaultSlowClose, On: []plan.Role{plan.Backend},
	Doc:  "connections that the node ends are closed later",
	Args: []Arg{{"delay", Time, "500ms", "by how much"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return enforce(ctx, s, agent.Rule{Do: agent.Relay, Stream: agent.Stream{Pause: s.Args.time("delay")}}, false)
	},
	Shows: func(s Site) agent.Look {
		l := look(s, agent.Want{Slower: s.Args.time("delay")})
		l.ToTheEnd = true
		l.Timeout += s.Args.time("delay")
		return l
	},
}
