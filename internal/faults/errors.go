package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var errorRatio = Fault{
	Name: plan.FaultErrors, Roles: backendOnly,
	Doc: "responds to requests with an error, but not to health checks",
	Args: []Arg{
		{"share", Share, "100%", "of requests"},
		{"status", Count, "500", "of the responses"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Status: s.Args.count("status")})
	},
	Detect: func(s Site) agent.Poll {
		return pollTraffic(s, agent.Expectation{Codes: []int{s.Args.count("status")}})
	},
}
