package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
)

// Active is a fault in force.
type Active struct {
	Observed string // what the peer saw; empty if the fault verified itself
	// StartsBy is the latest time at which the fault began, on the host's monotonic clock: the start of the first poll
	// that saw it; 0 without a poll.
	StartsBy time.Duration
	// StartsAfter is the earliest time: the start of the last poll that did not see it; 0 without one.
	StartsAfter time.Duration

	fault Fault
	site  Site
	undo  func(context.Context) error
}

// Inject starts a fault and returns when the peer sees it. A fault without effect is undone.
func Inject(ctx context.Context, f Fault, s Site) (*Active, error) {
	s.Args = s.Args.WithDefaults(f)
	undo, err := f.Start(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	in := &Active{fault: f, site: s, undo: undo}
	if f.Detect == nil {
		return in, nil
	}
	l, err := addressPoll(ctx, s, f.Detect(s))
	if err == nil {
		var seen agent.Observation
		if seen, err = s.Peer.Probe(ctx, l); err == nil {
			in.Observed, in.StartsBy, in.StartsAfter = seen.String(), seen.Start, seen.LastMiss
			return in, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s had no effect: %w", f.Name, err), undo(context.WithoutCancel(ctx)))
}

// addressPoll fills in the node's address.
func addressPoll(ctx context.Context, s Site, l agent.Poll) (agent.Poll, error) {
	if l.LookupName != "" || l.Addr.IsValid() {
		return l, nil
	}
	at, err := s.Node.Addresses(ctx)
	if err != nil || len(at) == 0 || s.Port == 0 {
		return l, errors.Join(errors.New("the node has no address to poll"), err)
	}
	l.Addr = netip.AddrPortFrom(at[0], uint16(s.Port))
	l.Header = map[string]string{backends.PollHeader: "1"}
	return l, nil
}

// Heal undoes the fault and returns when the peer no longer sees it. to is the start of the first poll without it; 0
// without a poll.
func (in *Active) Heal(ctx context.Context) (to time.Duration, err error) {
	if err := in.undo(ctx); err != nil {
		return 0, fmt.Errorf("heal %s: %w", in.fault.Name, err)
	}
	if in.fault.Detect == nil || in.fault.SkipHealCheck {
		return 0, nil
	}
	l, err := addressPoll(ctx, in.site, in.fault.Detect(in.site))
	if err != nil {
		return 0, err
	}
	l.Expect.Not, l.Consecutive = !l.Expect.Not, max(1, l.MissesWhenHealed)
	seen, err := in.site.Peer.Probe(ctx, l)
	if err != nil {
		return 0, fmt.Errorf("%s: still in force after undo: %w", in.fault.Name, err)
	}
	return seen.Start, nil
}
