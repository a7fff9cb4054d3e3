package faults

import (
	"context"
	"net/http"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var sick = Fault{
	Name: plan.FaultSick, Roles: backendOnly,
	Doc: "responds to health checks with an error or late; requests are not affected",
	Args: []Arg{
		{"status", Count, "503", "of the responses; 200: unchanged"},
		{"delay", Time, "0s", "before the response"},
	},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		b := backends.Behaviour{HealthOnly: true, Status: s.Args.count("status"), Delay: s.Args.time("delay")}
		if b.Status == http.StatusOK {
			b.Status = 0
		}
		return behave(ctx, s, b)
	},
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Codes: []int{s.Args.count("status")}, MinDuration: s.Args.time("delay")})
		l.Timeout += s.Args.time("delay")
		return l
	},
}
