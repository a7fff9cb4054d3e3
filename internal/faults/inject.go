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

// Active is a fault that was seen to be in force.
type Active struct {
	Observed string // what the peer saw; empty where the fault itself made sure
	// StartsBy is the latest time, on the host's monotonic clock, at which the fault began: when the first look began that
	// saw it. It is 0 where nobody looked.
	StartsBy time.Duration
	// StartsAfter is the earliest: when the last look began that did not see it; 0 where none did.
	StartsAfter time.Duration

	fault Fault
	site  Site
	undo  func(context.Context) error
}

// Inject puts a fault in force, and returns when it is seen to be there. What does not take effect is taken back.
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
	return nil, errors.Join(fmt.Errorf("%s took no effect: %w", f.Name, err), undo(context.WithoutCancel(ctx)))
}

// addressPoll points a look at the node.
func addressPoll(ctx context.Context, s Site, l agent.Poll) (agent.Poll, error) {
	if l.LookupName != "" || l.Addr.IsValid() {
		return l, nil
	}
	at, err := s.Node.Addresses(ctx)
	if err != nil || len(at) == 0 || s.Port == 0 {
		return l, errors.Join(errors.New("it has no address to look at"), err)
	}
	l.Addr = netip.AddrPortFrom(at[0], uint16(s.Port))
	l.Header = map[string]string{backends.PollHeader: "1"}
	return l, nil
}

// Heal takes the fault back, and returns when it is seen to be gone. to is when the last look began that may still have
// seen it, 0 where nobody looked.
func (in *Active) Heal(ctx context.Context) (to time.Duration, err error) {
	if err := in.undo(ctx); err != nil {
		return 0, fmt.Errorf("take %s back: %w", in.fault.Name, err)
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
		return 0, fmt.Errorf("%s is still there after it was taken back: %w", in.fault.Name, err)
	}
	return seen.Start, nil
}
