package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var wrongLength = Fault{
	Name: plan.FaultWrongLength, Roles: backendOnly,
	Doc: "sends a wrong Content-Length",
	Args: []Arg{
		shareArg,
		{"bytes", Text, "100", "added to the true length; may be negative"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), LengthError: s.Args.count("bytes")})
	},
	Detect: func(s Site) agent.Poll {
		if s.Args.count("bytes") < 0 {
			return pollTraffic(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Malformed}})
		}
		return pollTraffic(s, agent.Expectation{Outcomes: brokenResponse})
	},
}
