package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var wrongLength = Fault{
	Name: plan.FaultWrongLength, Roles: backendOnly,
	Doc: "Content-Length is not the length of the body",
	Args: []Arg{
		shareArg,
		{"bytes", Text, "100", "by which it is too large, or with a minus too small"},
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
