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
	Name: plan.FaultCrashLoop, Roles: anyRole,
	Doc: "kills and restarts the process repeatedly",
	Args: []Arg{
		{"up", Time, "500ms", "running"},
		{"down", Time, "500ms", "stopped"},
	},
	Start: startCrashLoop,
	Detect: func(s Site) agent.Poll {
		l := pollHealth(s, agent.Expectation{Outcomes: []agent.Outcome{agent.Refused}})
		l.MissesWhenHealed = int(2 * s.Args.time("up") / l.Interval)
		return l
	},
}

func startCrashLoop(ctx context.Context, s Site) (func(context.Context) error, error) {
	start, err := stopProcess(ctx, s, "SIGKILL")
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
				if again, failed = stopProcess(context.WithoutCancel(looping), s, "SIGKILL"); again != nil {
					start = again
				}
			}
		}
	})
	return func(ctx context.Context) error {
		leave()
		crashing.Wait()
		up, err := s.Node.IsRunning(ctx)
		if err == nil && !up {
			err = start(ctx)
		}
		return errors.Join(failed, err)
	}, nil
}
