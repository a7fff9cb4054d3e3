package stack

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// restartTimeout bounds an automatic restart.
const restartTimeout = 5 * time.Second

// Watch returns nil when ctx ends, or an error with the last log lines when a node is down for good. It records OOM
// kills for NodeRecords.
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
		if err := r.checkMissing(context.WithoutCancel(ctx), missing); err != nil { // finish what has begun
			return err
		}
	}
}

// expectedNodes returns the deadline by which each node must be running: no event reports a node that exited before the
// event stream began.
func (r *Rig) expectedNodes() map[string]time.Time {
	missing := map[string]time.Time{}
	for _, name := range r.names() {
		missing[name] = time.Now().Add(time.Second)
	}
	return missing
}

// checkMissing returns an error if a node is down at its deadline; the others are removed from missing.
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
		return // a config test, which exits by itself
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

// memberOf returns the member of a node; nil if there is none.
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

// CheckRunning returns an error with the last log lines if a node is down for good and no fault keeps it down.
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

// exitError describes how a node exited and what to do.
func (m *Member) exitError(ctx context.Context, state State) error {
	name, how, advice := m.Spec.Name, fmt.Sprintf("exit status %d", state.ExitCode), "lbproof did not stop it"
	if state.OOMKilled {
		how, advice = "OOM-killed", "raise its memory limit in the scenario"
	}
	var log bytes.Buffer
	if err := writeLog(ctx, m.Node, name, &log); err != nil {
		return fmt.Errorf("container %s exited: %s", name, how)
	}
	return fmt.Errorf("container %s exited: %s; %s; last log lines:\n%s", name, how, advice, tail(log.String(), 10))
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// CheckAllRunning is CheckRunning for every node.
func (r *Rig) CheckAllRunning(ctx context.Context) error {
	for _, name := range r.names() {
		if err := r.CheckRunning(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
