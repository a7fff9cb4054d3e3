package faults

import (
	"context"
	"errors"
	"math"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/stack"
)

// What the faults of the network have in common: a rule in the node's network about what comes from its peer or goes
// there.

// directionArg is the setting of a fault that can be put on one direction.
var directionArg = Arg{"way", Choice, "both", "both, in, out: of packets, seen from the node"}

// applyRule orders a rule between the node and its peer. Where nothing met it while it was there, it had no effect.
func applyRule(ctx context.Context, s Site, r agent.Rule, all bool) (func(context.Context) error, error) {
	for _, peer := range append([]*stack.Member{s.Peer}, s.OtherPeers...) {
		at, err := peer.Addresses(ctx)
		if err != nil {
			return nil, err
		}
		r.Peers = append(r.Peers, at...)
	}
	if !all {
		r.Ports = s.Node.Spec.Ports
	}
	r.ExpiresAfter = s.Duration + undoGrace
	heal, err := s.Node.ApplyRule(ctx, r)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		touched, err := heal(ctx)
		if err == nil && touched == 0 {
			err = errors.New("nothing passed while it was in force, so it had no effect")
		}
		return err
	}, nil
}

func (a Args) direction() agent.Direction {
	if w := a["way"]; w != "both" {
		return agent.Direction(w)
	}
	return agent.Both
}

// missesWhenHealed is how many looks on end without it show, but for one time in a million, that what shows in a share of looks
// is gone.
func missesWhenHealed(share float64) int {
	if share >= 1 {
		return 1
	}
	return min(500, int(math.Ceil(math.Log(1e-6)/math.Log1p(-share))))
}

// noResponse are the ends of looks whose packets vanish.
var noResponse = []agent.Outcome{agent.TimedOut}
