package faults

import (
	"context"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var dnsFail = Fault{
	Name: plan.FaultDNSFail, Roles: backendOnly,
	Doc:  "the peer cannot resolve the node's name",
	Args: []Arg{{"how", Choice, "fail", "fail, mute: SERVFAIL, or no response"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		how := s.Args["how"]
		return overrideDNS(ctx, s, agent.DNSOverride{
			Name: s.Node.Spec.Host(), ServFail: how == "fail", NoReply: how == "mute",
		})
	},
	Detect: func(s Site) agent.Poll {
		return pollName(s, agent.Expectation{Outcomes: []agent.Outcome{agent.NameNotFound}})
	},
}
