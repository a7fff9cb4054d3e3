package faults

import (
	"context"
	"errors"
	"math"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/stack"
)

// Network faults: rules in the node's namespace for traffic with its peer.

// directionArg is the setting of faults that can affect one direction.
var directionArg = Arg{"way", Choice, "both", "both, in, out: direction of packets, seen from the node"}

// applyRule applies a rule between the node and its peers. undo returns an error if the rule affected nothing.
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
			err = errors.New("no effect: no packet arrived while it was in force")
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

// missesWhenHealed returns how many misses in a row show, with error probability 1e-6, that a fault visible in a share
// of polls is gone.
func missesWhenHealed(share float64) int {
	if share >= 1 {
		return 1
	}
	return min(500, int(math.Ceil(math.Log(1e-6)/math.Log1p(-share))))
}

// noResponse are the outcomes of polls whose packets are dropped.
var noResponse = []agent.Outcome{agent.TimedOut}
