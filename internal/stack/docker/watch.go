package docker

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// patience is how long a container that may restart has to come back.
const patience = 5 * time.Second

// Watch returns when a container of the run is gone for good, with an error that names it and says what it last printed,
// or when ctx ends, with nil. Kills for memory are kept for Nodes.
func (s *Stack) Watch(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream := s.docker.client.Events(ctx, client.EventsListOptions{
		Filters: make(client.Filters).Add("label", labelRun+"="+s.run).Add("type", "container").Add("event", "die", "oom", "start"),
	})
	missing := map[string]time.Time{} // node → when it must be there
	for _, name := range s.names() {
		missing[name] = time.Now().Add(time.Second) // who died before the stream of events began is in none of them
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-stream.Err:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("watch the containers: %w", err)
		case e := <-stream.Messages:
			s.notice(e, missing)
		case <-tick.C:
		}
		for name, until := range missing {
			if time.Now().After(until) {
				if err := s.Gone(context.WithoutCancel(ctx), name); err != nil { // what was begun is told
					return err
				}
				delete(missing, name)
			}
		}
	}
}

func (s *Stack) notice(e events.Message, missing map[string]time.Time) {
	n := s.node(e.Actor.Attributes[labelNode])
	if n == nil || n.container.GetContainerID() != e.Actor.ID {
		return // the configuration check, which ends by itself
	}
	switch e.Action {
	case "oom":
		s.mu.Lock()
		n.oom = true
		s.mu.Unlock()
	case "start":
		delete(missing, n.spec.Name)
		s.mu.Lock()
		n.starts++
		s.mu.Unlock()
	case "die":
		missing[n.spec.Name] = time.Now()
		if n.spec.Restarts {
			missing[n.spec.Name] = time.Now().Add(patience)
		}
	}
}

// Gone is an error where a node neither runs nor is about to, with what it last printed.
func (s *Stack) Gone(ctx context.Context, name string) error {
	info, err := s.node(name).container.Inspect(ctx)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", name, err)
	}
	if info.State.Running || info.State.Restarting || s.held(name) {
		return nil
	}
	return s.dead(ctx, name, info)
}

// held says whether a fault keeps the node down now.
func (s *Stack) held(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nodes[name].held > 0
}

// dead tells how a container ended and what to do.
func (s *Stack) dead(ctx context.Context, name string, info *container.InspectResponse) error {
	how := fmt.Sprintf("exit status %d", info.State.ExitCode)
	advice := "nothing of the harness stopped it"
	if info.State.OOMKilled {
		how, advice = "killed for memory", "raise its memory limit in the scenario"
	}
	var log bytes.Buffer
	if err := s.Logs(ctx, name, &log); err != nil {
		return fmt.Errorf("the container %s died: %s", name, how)
	}
	return fmt.Errorf("the container %s died: %s; %s; its last lines:\n%s", name, how, advice, tail(log.String(), 10))
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Running is an error where a node of the run neither runs nor is about to.
func (s *Stack) Running(ctx context.Context) error {
	for _, name := range s.names() {
		if err := s.Gone(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// names are the nodes of the run, sorted.
func (s *Stack) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.nodes))
}
