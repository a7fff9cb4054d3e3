package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lbproof/lbproof/backends"
	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// What the faults have in common that a service does by itself: it is told how to misbehave, for how long, and says at
// the end how often it did.

// onBackends is what they can be put on.
var onBackends = []plan.Role{plan.Backend}

// behaviours are the names of them.
var behaviours = []plan.Fault{
	errorRatio.Name, slowness.Name, hang.Name, promise.Name, early.Name,
	slowBody.Name, badHeader.Name, closeIdle.Name, sick.Name, flap.Name,
}

// some is the setting of faults that concern a part of the requests.
var some = Arg{"share", Share, "100%", "of the requests"}

func behave(ctx context.Context, s Site, b backends.Behaviour) (func(context.Context) error, error) {
	b.For = s.For + grace
	if _, err := tell(ctx, s.Node, b); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		shown, err := tell(ctx, s.Node, backends.Behaviour{})
		if err == nil && shown == 0 {
			err = errors.New("no request met it while it was in force, so it had no effect")
		}
		return err
	}, nil
}

// tell gives the service a behaviour, and returns how often the one before showed.
func tell(ctx context.Context, node *stack.Member, b backends.Behaviour) (shown int, err error) {
	order, err := json.Marshal(b)
	if err != nil {
		return 0, fmt.Errorf("write the behaviour: %w", err)
	}
	said, err := node.Call(ctx, "/behave", order)
	if err != nil {
		return 0, err
	}
	var answer struct{ Shown int }
	if err := json.Unmarshal(said, &answer); err != nil {
		return 0, fmt.Errorf("read how often the behaviour showed: %w", err)
	}
	return answer.Shown, nil
}

// traffic is a look at what the node does with requests, not with health checks.
func traffic(s Site, want agent.Want) agent.Look {
	l := look(s, want)
	l.Path = "/"
	if share := s.Args.share("share"); share > 0 {
		l.Misses = misses(share)
	}
	return l
}
