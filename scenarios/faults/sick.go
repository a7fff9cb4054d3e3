package faults

import (
	"context"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
)

var sick = Fault{
	Name: "sick", On: onBackends,
	Doc: "health checks are answered with an error, requests as before",
	Args: []Arg{
		{"status", Count, "503", "of the answers"},
	},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		return behave(ctx, s, backends.Behaviour{Health: true, Status: s.Args.count("status")})
	},
	Shows: func(s Site) agent.Look { return look(s, agent.Want{Codes: []int{s.Args.count("status")}}) },
}
