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

// TryConfig lets the balancer itself look at a configuration: its own checker first, then its start, on nodes without a
// network in which every upstream host is known. Nothing is left running.
func TryConfig(ctx context.Context, on Runtime, balancer plan.Spec, cfg model.Config) (answer model.BalancerAnswer, err error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	r, err := open(ctx, on, Setup{}, RunConfig{Run: hex.EncodeToString(id[:]), Isolated: true})
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	told, err := compilePatterns(cfg.Dialect.Log)
	if err != nil {
		return answer, err
	}
	spec, made, err := new(Authority).ProvisionFiles(balancer, cfg.Needs)
	if err != nil {
		return answer, err
	}
	g := isolatedNode{spec, append(slices.Clone(cfg.Files), made...), hostNames(cfg)}
	version, err := r.runIsolated(ctx, g, spec.VersionCommand)
	if err != nil {
		return answer, err
	}
	answer.Version = VersionLine(version.Text)
	if len(spec.ConfigTest) > 0 {
		checked, err := r.runIsolated(ctx, g, spec.ConfigTest)
		if err != nil {
			return answer, err
		}
		answer.Messages = told.startupMessages(spec, checked.Text, checked.ExitCode != 0)
		if checked.ExitCode != 0 {
			return answer, nil
		}
	}
	answer.Accepted = true
	started, said, err := r.tryStart(ctx, g)
	answer.Started = started
	answer.Messages = appendNew(answer.Messages, told.startupMessages(spec, said, !started))
	return answer, err
}

// appendNew adds complaints whose text is not among those that are known.
func appendNew(known, more []model.StartupMessage) []model.StartupMessage {
	for _, one := range more {
		if !slices.ContainsFunc(known, func(o model.StartupMessage) bool { return o.Text == one.Text }) {
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
			if !strings.Contains(s.Host, ":") && model.InvalidHostReason(s.Host) == "" && !slices.Contains(hosts, s.Host) {
				hosts = append(hosts, s.Host)
			}
		}
	}
	return hosts
}

// isolatedNode is a node to be looked at without a network, in which every upstream host is known.
type isolatedNode struct {
	spec  plan.Spec
	files []model.File
	hosts []string
}

// runIsolated runs a command of a guest's image to its end.
func (r *Rig) runIsolated(ctx context.Context, g isolatedNode, command []string) (did Output, err error) {
	n, err := r.startIsolated(ctx, g, command)
	if err == nil {
		did, err = waitForExit(ctx, n)
	}
	if err != nil {
		return did, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	return did, nil
}

// commandTimeout is how long a command may take.
const commandTimeout = time.Minute

// waitForExit waits until a node's process ends, and returns what it printed.
func waitForExit(ctx context.Context, n Node) (Output, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, fmt.Errorf("it has not ended within %s", commandTimeout))
	defer cancel()
	for {
		state, err := n.State(ctx)
		if err != nil {
			return Output{}, err
		}
		if !state.Running {
			var said strings.Builder
			err := n.Logs(ctx, LogOptions{Stdout: &said, Stderr: &said})
			return Output{state.ExitCode, said.String()}, err
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return Output{}, context.Cause(ctx)
		}
	}
}

// startIsolated starts a guest with a command.
func (r *Rig) startIsolated(ctx context.Context, g isolatedNode, command []string) (Node, error) {
	spec := g.spec
	found, err := r.runtime.Image(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	spec.Command, spec.AutoRestart, spec.HealthCommand = command, false, nil
	s := Start{Spec: spec, Image: found, Files: g.files, Privileges: PrivilegesOf(spec.Role), Isolated: true}
	for _, name := range g.hosts {
		name = strings.TrimSuffix(name, ".")
		s.LoopbackHosts = append(s.LoopbackHosts, name, name+".") // which only name servers take for one
	}
	return r.stack.Start(ctx, s)
}

// listenTimeout is how long a balancer may take until it listens.
const listenTimeout = "10s"

// tryStart starts the balancer for a moment: it must listen on every port. said is what it printed.
func (r *Rig) tryStart(ctx context.Context, g isolatedNode) (started bool, said string, err error) {
	spec := g.spec
	n, err := r.startIsolated(ctx, g, spec.Command)
	if err != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, err)
	}
	reach := []string{"reach", "--within", listenTimeout, "--settle", spec.SettleTime.String()}
	if len(spec.Ports) > 0 {
		reach = append(reach, "--ports", portList(spec.Ports))
	}
	did, err := n.Run(ctx, Command{Argv: reach, RunLbproof: true})
	reached := err == nil && did.ExitCode == 0
	state, stateErr := n.State(ctx)
	if stateErr != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, stateErr)
	}
	if err != nil && state.Running { // else the node to stand beside was gone, which is the answer
		return false, "", fmt.Errorf("see whether %s listens: %w", spec.Name, err)
	}
	var text strings.Builder
	err = writeLog(ctx, n, spec.Name, &text)
	return reached && state.Running, text.String(), err
}
