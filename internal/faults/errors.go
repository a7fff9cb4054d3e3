package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var errorRatio = Fault{
	Name: plan.FaultErrors, Roles: backendOnly,
	Doc: "answers requests with an error, and health checks as before",
	Args: []Arg{
		{"share", Share, "100%", "of the requests"},
		{"status", Count, "500", "of the answers"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Ratio: s.Args.share("share"), Status: s.Args.count("status")})
	},
	Detect: func(s Site) agent.Poll {
		return pollTraffic(s, agent.Expectation{Codes: []int{s.Args.count("status")}})
	},
}
