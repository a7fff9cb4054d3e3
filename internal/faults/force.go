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

// InForce is a fault that was seen to be in force.
type InForce struct {
	Seen string // what the peer saw; empty where the fault itself made sure
	// From is the latest time, on the host's monotonic clock, at which the fault began: when the first look began that
	// saw it. It is 0 where nobody looked.
	From time.Duration
	// Before is the earliest: when the last look began that did not see it; 0 where none did.
	Before time.Duration

	fault Fault
	site  Site
	undo  func(context.Context) error
}

// Inject puts a fault in force, and returns when it is seen to be there. What does not take effect is taken back.
func Inject(ctx context.Context, f Fault, s Site) (*InForce, error) {
	s.Args = s.Args.WithDefaults(f)
	undo, err := f.Order(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name, err)
	}
	in := &InForce{fault: f, site: s, undo: undo}
	if f.Shows == nil {
		return in, nil
	}
	l, err := aimed(ctx, s, f.Shows(s))
	if err == nil {
		var seen agent.Seen
		if seen, err = s.Peer.Look(ctx, l); err == nil {
			in.Seen, in.From, in.Before = seen.String(), seen.From, seen.Before
			return in, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("%s took no effect: %w", f.Name, err), undo(context.WithoutCancel(ctx)))
}

// aimed points a look at the node.
func aimed(ctx context.Context, s Site, l agent.Look) (agent.Look, error) {
	if l.Name != "" || l.At.IsValid() {
		return l, nil
	}
	at, err := s.Node.Addresses(ctx)
	if err != nil || len(at) == 0 || s.Port == 0 {
		return l, errors.Join(errors.New("it has no address to look at"), err)
	}
	l.At = netip.AddrPortFrom(at[0], uint16(s.Port))
	l.Header = map[string]string{backends.LookHeader: "1"}
	return l, nil
}

// Heal takes the fault back, and returns when it is seen to be gone. to is when the last look began that may still have
// seen it, 0 where nobody looked.
func (in *InForce) Heal(ctx context.Context) (to time.Duration, err error) {
	if err := in.undo(ctx); err != nil {
		return 0, fmt.Errorf("take %s back: %w", in.fault.Name, err)
	}
	if in.fault.Shows == nil || in.fault.Lasting {
		return 0, nil
	}
	l, err := aimed(ctx, in.site, in.fault.Shows(in.site))
	if err != nil {
		return 0, err
	}
	l.Want.Not, l.InARow = !l.Want.Not, max(1, l.Misses)
	seen, err := in.site.Peer.Look(ctx, l)
	if err != nil {
		return 0, fmt.Errorf("%s is still there after it was taken back: %w", in.fault.Name, err)
	}
	return seen.From, nil
}
