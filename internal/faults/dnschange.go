package faults

import (
	"context"
	"net/netip"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var dnsChange = Fault{
	Name: plan.FaultDNSChange, Roles: backendOnly,
	Doc:  "the peer resolves the node's name to another address, which is unused",
	Args: []Arg{{"address", Text, "192.0.2.1", "new address"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		address, err := netip.ParseAddr(s.Args["address"])
		if err != nil {
			return nil, err
		}
		return overrideDNS(ctx, s, agent.DNSOverride{Name: s.Node.Spec.Host(), Address: address})
	},
	Detect: func(s Site) agent.Poll {
		address, _ := netip.ParseAddr(s.Args["address"]) // checked by Start
		return pollName(s, agent.Expectation{Address: address})
	},
}

// overrideDNS changes the peer's DNS responses for the node's name.
func overrideDNS(ctx context.Context, s Site, override agent.DNSOverride) (func(context.Context) error, error) {
	rule := agent.Rule{Action: agent.Resolve, DNS: override, ExpiresAfter: s.Duration + undoGrace}
	heal, err := s.Peer.ApplyRule(ctx, rule)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := heal(ctx)
		return err
	}, nil
}

// pollName returns a poll that only resolves the name.
func pollName(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	l.LookupName, l.Path = s.Node.Spec.Host(), ""
	return l
}
