package stack

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// restartTimeout is how long a node that may restart has to come back.
const restartTimeout = 5 * time.Second

// Watch returns when a node of the run is gone for good, with an error that names it and says what it last printed,
// or when ctx ends, with nil. Kills for memory are kept for Nodes.
func (r *Rig) Watch(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	events, failed := make(chan Event), make(chan error, 1)
	watching.Go(func() {
		failed <- r.stack.Watch(ctx, func(e Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	})
	missing := r.expectedNodes()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch the containers: %w", err)
		case e := <-events:
			r.handleEvent(e, missing)
		case <-tick.C:
		}
		if err := r.checkMissing(context.WithoutCancel(ctx), missing); err != nil { // what was begun is told
			return err
		}
	}
}

// expectedNodes are the run's nodes, and when each must be there: who died before the stream of events began is in none of
// them.
func (r *Rig) expectedNodes() map[string]time.Time {
	missing := map[string]time.Time{}
	for _, name := range r.names() {
		missing[name] = time.Now().Add(time.Second)
	}
	return missing
}

// checkMissing is an error where a missing node's time is over and it is gone; else it is missing no more.
func (r *Rig) checkMissing(ctx context.Context, missing map[string]time.Time) error {
	for name, until := range missing {
		if !time.Now().After(until) {
			continue
		}
		if err := r.CheckRunning(ctx, name); err != nil {
			return err
		}
		delete(missing, name)
	}
	return nil
}

func (r *Rig) handleEvent(e Event, missing map[string]time.Time) {
	m := r.memberOf(e.Node)
	if m == nil {
		return // the configuration check, which ends by itself
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Kind {
	case OutOfMemory:
		m.oomKilled = true
	case Started:
		delete(missing, m.Spec.Name)
		m.starts++
	case Exited:
		missing[m.Spec.Name] = time.Now()
		if m.Spec.AutoRestart {
			missing[m.Spec.Name] = time.Now().Add(restartTimeout)
		}
	}
}

// memberOf is the member whose node this is; nil where it is none's.
func (r *Rig) memberOf(n Node) *Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		if m.Node == n {
			return m
		}
	}
	return nil
}

// CheckRunning is an error where a node neither runs nor is about to, with what it last printed.
func (r *Rig) CheckRunning(ctx context.Context, name string) error {
	m := r.find(name)
	state, err := m.Node.State(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", name, err)
	}
	if state.Running || state.Restarting || m.isDownByFault() {
		return nil
	}
	return m.exitError(ctx, state)
}

// exitError tells how a node ended and what to do.
func (m *Member) exitError(ctx context.Context, state State) error {
	name, how, advice := m.Spec.Name, fmt.Sprintf("exit status %d", state.ExitCode), "nothing of the harness stopped it"
	if state.OOMKilled {
		how, advice = "killed for memory", "raise its memory limit in the scenario"
	}
	var log bytes.Buffer
	if err := writeLog(ctx, m.Node, name, &log); err != nil {
		return fmt.Errorf("the container %s died: %s", name, how)
	}
	return fmt.Errorf("the container %s died: %s; %s; its last lines:\n%s", name, how, advice, tail(log.String(), 10))
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CheckAllRunning is an error where a node of the run neither runs nor is about to.
func (r *Rig) CheckAllRunning(ctx context.Context) error {
	for _, name := range r.names() {
		if err := r.CheckRunning(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
