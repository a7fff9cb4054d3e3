package stack

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// Ask lets the balancer itself look at a configuration: its own checker first, then its start, on nodes without a
// network in which every upstream host is known. Nothing is left running.
func Ask(ctx context.Context, on Runtime, balancer plan.Spec, cfg model.Config) (answer model.Answered, err error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	r, err := open(ctx, on, Setup{}, World{Run: hex.EncodeToString(id[:]), Isolated: true})
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	told, err := readForms(cfg.Dialect.Log)
	if err != nil {
		return answer, err
	}
	spec, made, err := new(Authority).Furnish(balancer, cfg.Needs)
	if err != nil {
		return answer, err
	}
	g := guest{spec, append(slices.Clone(cfg.Files), made...), hostNames(cfg)}
	version, err := r.alone(ctx, g, spec.Version)
	if err != nil {
		return answer, err
	}
	answer.Version = VersionLine(version.Said)
	if len(spec.Check) > 0 {
		checked, err := r.alone(ctx, g, spec.Check)
		if err != nil {
			return answer, err
		}
		answer.Said = told.complaints(spec, checked.Said, checked.Code != 0)
		if checked.Code != 0 {
			return answer, nil
		}
	}
	answer.Accepted = true
	started, said, err := r.tryStart(ctx, g)
	answer.Started = started
	answer.Said = addNew(answer.Said, told.complaints(spec, said, !started))
	return answer, err
}

// addNew adds complaints whose text is not among those that are known.
func addNew(known, more []model.Said) []model.Said {
	for _, one := range more {
		if !slices.ContainsFunc(known, func(o model.Said) bool { return o.Text == one.Text }) {
			known = append(known, one)
		}
	}
	return known
}

// hostNames are the names of servers that the balancer may look up.
func hostNames(cfg model.Config) []string {
	var hosts []string
	for _, p := range cfg.Pools {
		for _, s := range p.Servers {
			if !strings.Contains(s.Host, ":") && model.HostFlaw(s.Host) == "" && !slices.Contains(hosts, s.Host) {
				hosts = append(hosts, s.Host)
			}
		}
	}
	return hosts
}

// guest is a node to be looked at without a network, in which every upstream host is known.
type guest struct {
	spec  plan.Spec
	files []model.File
	hosts []string
}

// alone runs a command of a guest's image to its end.
func (r *Rig) alone(ctx context.Context, g guest, command []string) (did Output, err error) {
	n, err := r.isolated(ctx, g, command)
	if err == nil {
		did, err = outcome(ctx, n)
	}
	if err != nil {
		return did, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	return did, nil
}

// endsWithin is how long a command may take.
const endsWithin = time.Minute

// outcome waits until a node's process ends, and returns what it printed.
func outcome(ctx context.Context, n Node) (Output, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, endsWithin, fmt.Errorf("it has not ended within %s", endsWithin))
	defer cancel()
	for {
		state, err := n.State(ctx)
		if err != nil {
			return Output{}, err
		}
		if !state.Running {
			var said strings.Builder
			err := n.Logs(ctx, Logs{Stdout: &said, Stderr: &said})
			return Output{state.Exit, said.String()}, err
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return Output{}, context.Cause(ctx)
		}
	}
}

// isolated starts a guest with a command.
func (r *Rig) isolated(ctx context.Context, g guest, command []string) (Node, error) {
	spec := g.spec
	found, err := r.runtime.Image(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	spec.Command, spec.Restarts, spec.Health = command, false, nil
	s := Start{Spec: spec, Image: found, Files: g.files, Rights: RightsOf(spec.Role), Isolated: true}
	for _, name := range g.hosts {
		name = strings.TrimSuffix(name, ".")
		s.Hosts = append(s.Hosts, name, name+".") // which only name servers take for one
	}
	return r.stack.Start(ctx, s)
}

// startsWithin is how long a balancer may take until it listens.
const startsWithin = "10s"

// tryStart starts the balancer for a moment: it must listen on every port. said is what it printed.
func (r *Rig) tryStart(ctx context.Context, g guest) (started bool, said string, err error) {
	spec := g.spec
	n, err := r.isolated(ctx, g, spec.Command)
	if err != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, err)
	}
	reach := []string{"reach", "--within", startsWithin, "--settle", spec.Settle.String()}
	if len(spec.Ports) > 0 {
		reach = append(reach, "--ports", portList(spec.Ports))
	}
	did, err := n.Run(ctx, Command{Argv: reach, Own: true})
	reached := err == nil && did.Code == 0
	state, stateErr := n.State(ctx)
	if stateErr != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, stateErr)
	}
	if err != nil && state.Running { // else the node to stand beside was gone, which is the answer
		return false, "", fmt.Errorf("see whether %s listens: %w", spec.Name, err)
	}
	var text strings.Builder
	err = printedBy(ctx, n, spec.Name, &text)
	return reached && state.Running, text.String(), err
}
