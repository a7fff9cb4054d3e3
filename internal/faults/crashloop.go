package faults

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

var crashLoop = Fault{
	Name: plan.FaultCrashLoop, On: anyNode,
	Doc: "the process ends at once, comes back, and ends again, over and over",
	Args: []Arg{
		{"up", Time, "500ms", "how long it lives"},
		{"down", Time, "500ms", "how long it is gone"},
	},
	Order: orderCrashLoop,
	Shows: func(s Site) agent.Look {
		l := look(s, agent.Want{Ends: []agent.End{agent.Refused}})
		l.Misses = int(2 * s.Args.time("up") / l.Every)
		return l
	},
}

func orderCrashLoop(ctx context.Context, s Site) (func(context.Context) error, error) {
	start, err := down(ctx, s, "SIGKILL")
	if err != nil {
		return nil, err
	}
	looping, leave := context.WithCancel(context.WithoutCancel(ctx))
	var crashing sync.WaitGroup
	var failed error
	crashing.Go(func() {
		for failed == nil && sleep.Until(looping, time.Now().Add(s.Args.time("down"))) {
			failed = start(context.WithoutCancel(looping))
			if failed == nil && sleep.Until(looping, time.Now().Add(s.Args.time("up"))) {
				var again func(context.Context) error
				if again, failed = down(context.WithoutCancel(looping), s, "SIGKILL"); again != nil {
					start = again
				}
			}
		}
	})
	return func(ctx context.Context) error {
		leave()
		crashing.Wait()
		up, err := s.Node.Running(ctx)
		if err == nil && !up {
			err = start(ctx)
		}
		return errors.Join(failed, err)
	}, nil
}
