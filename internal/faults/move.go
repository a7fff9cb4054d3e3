package faults

import (
	"context"
	"errors"
	"net/netip"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

var move = Fault{
	Name: plan.FaultMove, Roles: backendOnly,
	Doc: "restarts the process with another address and updates its DNS name; " +
		"reverted at the end",
	Start: func(ctx context.Context, s Site) (func(context.Context) error, error) {
		if s.Node.Spec.Address != "" {
			return nil, errors.New("the configuration refers to the node by address, so it cannot move")
		}
		all, err := s.Node.Addresses(ctx)
		if err != nil || len(all) == 0 {
			return nil, errors.Join(errors.New("find the node's address"), err)
		}
		var back func(context.Context) error
		err = whileStopped(ctx, s, func(ctx context.Context) (err error) {
			back, err = assignAddress(ctx, s, all[0])
			return err
		})
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) error { return whileStopped(ctx, s, back) }, nil
	},
	Detect: func(s Site) agent.Poll { // it answers by name; nobody has the old address
		l := pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Answered}, Codes: []int{200}})
		l.LookupName, l.Addr = s.Node.Spec.Host(), netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(s.Port))
		l.Header = map[string]string{backends.PollHeader: "1"}
		return l
	},
	SkipHealCheck: true, // after healing, it answers by name as well
}

// whileStopped runs a function while the node's process is stopped.
func whileStopped(ctx context.Context, s Site, meanwhile func(context.Context) error) error {
	start, err := stopProcess(ctx, s, "SIGTERM")
	if err != nil {
		return err
	}
	err = meanwhile(ctx)
	return errors.Join(err, start(context.WithoutCancel(ctx)))
}

// assignAddress moves the node to an address from a part of its network that the engine does not assign, and updates
// its DNS name.
func assignAddress(ctx context.Context, s Site, old netip.Addr) (back func(context.Context) error, err error) {
	at := old.As4()
	at[3] ^= 64
	fresh := netip.AddrFrom4(at)
	var undo []func(context.Context) (int, error)
	back = func(ctx context.Context) error {
		var problems []error
		for _, u := range undo {
			_, err := u(ctx)
			problems = append(problems, err)
		}
		return errors.Join(problems...)
	}
	put := func(n *stack.Member, r agent.Rule) {
		if err != nil {
			return
		}
		r.ExpiresAfter = s.Duration + undoGrace
		var heal func(context.Context) (int, error)
		if heal, err = n.ApplyRule(ctx, r); err == nil {
			undo = append(undo, heal)
		}
	}
	put(s.Node, agent.Rule{Action: agent.Move, From: old, To: fresh})
	for _, client := range []*stack.Member{s.Peer, s.Worker} {
		put(client, agent.Rule{Action: agent.Resolve, DNS: agent.DNSOverride{Name: s.Node.Spec.Host(), Address: fresh}})
	}
	if err != nil {
		return nil, errors.Join(err, back(context.WithoutCancel(ctx)))
	}
	return back, nil
}
