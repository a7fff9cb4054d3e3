package run

import (
	"context"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/scenarios/faults"
)

// breakThings puts every event of the plan in force when it is due, and heals it when it is over or when ctx ends. The marks
// say what really happened. Should the harness die, the reaper removes what it broke.
func (s *execution) breakThings(ctx context.Context) []lb.Mark {
	marks := make([]lb.Mark, len(s.plan.Events))
	began := time.Now()
	var breaking sync.WaitGroup
	for i, e := range s.plan.Events {
		breaking.Go(func() {
			if !sleepUntil(ctx, began.Add(e.At)) {
				marks[i] = lb.Mark{Event: e, Err: "the traffic ended before it was due"}
				return
			}
			marks[i] = s.breakOne(ctx, e)
		})
	}
	breaking.Wait()
	return marks
}

// healWithin bounds how long a fault may resist.
const healWithin = 10 * time.Second

func (s *execution) breakOne(ctx context.Context, e lb.Event) lb.Mark {
	mark := lb.Mark{Event: e}
	fault, err := faults.Find(e.Fault)
	if err != nil {
		mark.Err = err.Error()
		return mark
	}
	s.Progress.Step("fault: " + e.Fault + " " + e.Target)
	heal, err := fault.Inject(ctx, s.stack.Node(e.Target))
	if err != nil {
		mark.Err = err.Error()
		return mark
	}
	mark.From = time.Since(s.origin)
	sleepUntil(ctx, time.Now().Add(e.For))
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), healWithin)
	defer cancel()
	if err := heal(healing); err != nil {
		mark.Err = err.Error()
	}
	mark.To = time.Since(s.origin)
	s.Progress.Step("healed: " + e.Fault + " " + e.Target)
	return mark
}

// sleepUntil is false where ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
