package faults

import (
	"context"
	"net/netip"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var dnsChange = Fault{
	Name: plan.FaultDNSChange, Roles: backendOnly,
	Doc:  "the peer's resolver gives another address for the node's name, one that nobody has",
	Args: []Arg{{"address", Text, "192.0.2.1", "the address"}},
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		address, err := netip.ParseAddr(s.Args["address"])
		if err != nil {
			return nil, err
		}
		return overrideDNS(ctx, s, agent.DNSOverride{Name: s.Node.Spec.Host(), Address: address})
	},
	Detect: func(s Site) agent.Poll {
		address, _ := netip.ParseAddr(s.Args["address"]) // Order has seen to it
		return pollName(s, agent.Expectation{Address: address})
	},
}

// overrideDNS answers the peer's questions for the node's name.
func overrideDNS(ctx context.Context, s Site, names agent.DNSOverride) (func(context.Context) error, error) {
	heal, err := s.Peer.ApplyRule(ctx, agent.Rule{Action: agent.Resolve, DNS: names, ExpiresAfter: s.Duration + undoGrace})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := heal(ctx)
		return err
	}, nil
}

// pollName is a look that asks for the name only.
func pollName(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	l.LookupName, l.Path = s.Node.Spec.Host(), ""
	return l
}
