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

// backendOnly is what they can be put on.
var backendOnly = []plan.Role{plan.Backend}

// serviceFaults are the names of them.
var serviceFaults = []plan.Fault{
	errorRatio.Name, slow.Name, hang.Name, wrongLength.Name, earlyClose.Name,
	slowBody.Name, badHeader.Name, closeIdle.Name, sick.Name, flap.Name,
}

// shareArg is the setting of faults that concern a part of the requests.
var shareArg = Arg{"share", Share, "100%", "of the requests"}

func behave(ctx context.Context, s Site, b backends.Behaviour) (func(context.Context) error, error) {
	b.For = s.Duration + undoGrace
	if _, err := setBehaviour(ctx, s.Node, b); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		shown, err := setBehaviour(ctx, s.Node, backends.Behaviour{})
		if err == nil && shown == 0 {
			err = errors.New("no request met it while it was in force, so it had no effect")
		}
		return err
	}, nil
}

// setBehaviour gives the service a behaviour, and returns how often the one before showed.
func setBehaviour(ctx context.Context, node *stack.Member, b backends.Behaviour) (shown int, err error) {
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

// pollTraffic is a look at what the node does with requests, not with health checks.
func pollTraffic(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	l.Path = "/"
	if share := s.Args.share("share"); share > 0 {
		l.MissesWhenHealed = missesWhenHealed(share)
	}
	return l
}
