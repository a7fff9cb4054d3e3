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

// Faults implemented by the backend service itself. A request to its control port sets how it misbehaves and for how
// long, and returns how often it did before.

// backendOnly are the roles of these faults.
var backendOnly = []plan.Role{plan.Backend}

// serviceFaults are the names of these faults.
var serviceFaults = []plan.Fault{
	errorRatio.Name, slow.Name, hang.Name, wrongLength.Name, earlyClose.Name,
	slowBody.Name, badHeader.Name, closeIdle.Name, sick.Name, flap.Name,
}

// shareArg is the setting of faults that affect a share of requests.
var shareArg = Arg{"share", Share, "100%", "of requests"}

func behave(ctx context.Context, s Site, b backends.Behaviour) (func(context.Context) error, error) {
	b.For = s.Duration + undoGrace
	if _, err := setBehaviour(ctx, s.Node, b); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		shown, err := setBehaviour(ctx, s.Node, backends.Behaviour{})
		if err == nil && shown == 0 {
			err = errors.New("no effect: no request arrived while it was in force")
		}
		return err
	}, nil
}

// setBehaviour sets the service's behaviour and returns how often the previous one took effect.
func setBehaviour(ctx context.Context, node *stack.Member, b backends.Behaviour) (shown int, err error) {
	order, err := json.Marshal(b)
	if err != nil {
		return 0, fmt.Errorf("encode behaviour: %w", err)
	}
	body, err := node.Call(ctx, "/behave", order)
	if err != nil {
		return 0, err
	}
	var result struct{ Shown int }
	if err := json.Unmarshal(body, &result); err != nil {
		return 0, fmt.Errorf("decode the number of affected requests: %w", err)
	}
	return result.Shown, nil
}

// pollTraffic returns a poll of the node's responses to requests other than health checks.
func pollTraffic(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	l.Path = "/"
	if share := s.Args.share("share"); share > 0 {
		l.MissesWhenHealed = missesWhenHealed(share)
	}
	return l
}
