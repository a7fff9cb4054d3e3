package faults

import (
	"context"
	"net/netip"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
)

var rename = Fault{
	Name: plan.FaultDNSChange, On: onBackends,
	Doc:  "the peer's resolver gives another address for the node's name, one that nobody has",
	Args: []Arg{{"address", Text, "192.0.2.1", "the address"}},
	Order: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		address, err := netip.ParseAddr(s.Args["address"])
		if err != nil {
			return nil, err
		}
		return answerFor(ctx, s, agent.Names{Name: s.Node.Spec.Host(), Give: address})
	},
	Shows: func(s Site) agent.Look {
		address, _ := netip.ParseAddr(s.Args["address"]) // Order has seen to it
		return named(s, agent.Want{Address: address})
	},
}

// answerFor answers the peer's questions for the node's name.
func answerFor(ctx context.Context, s Site, names agent.Names) (func(context.Context) error, error) {
	heal, err := s.Peer.Enforce(ctx, agent.Rule{Do: agent.Resolve, Names: names, For: s.For + grace})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		_, err := heal(ctx)
		return err
	}, nil
}

// named is a look that asks for the name only.
func named(s Site, want agent.Want) agent.Look {
	l := look(s, want)
	l.Name, l.Path = s.Node.Spec.Host(), ""
	return l
}
