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

// TryConfig asks the balancer itself about a configuration: it runs the balancer's config test, then starts it, on
// nodes without a network that resolve every upstream host. Nothing keeps running.
func TryConfig(
	ctx context.Context, on Runtime, balancer plan.Spec, cfg model.Config,
) (answer model.BalancerAnswer, err error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	r, err := open(ctx, on, Setup{}, RunConfig{Run: hex.EncodeToString(id[:]), Isolated: true})
	if err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	patterns, err := compilePatterns(cfg.Dialect.Log)
	if err != nil {
		return answer, err
	}
	spec, provided, err := new(Authority).ProvisionFiles(balancer, cfg.Needs)
	if err != nil {
		return answer, err
	}
	node := isolatedNode{spec, append(slices.Clone(cfg.Files), provided...), hostNames(cfg)}
	version, err := r.runIsolated(ctx, node, spec.VersionCommand)
	if err != nil {
		return answer, err
	}
	answer.Version = VersionLine(version.Text)
	if len(spec.ConfigTest) > 0 {
		tested, err := r.runIsolated(ctx, node, spec.ConfigTest)
		if err != nil {
			return answer, err
		}
		answer.Messages = patterns.startupMessages(spec, tested.Text, tested.ExitCode != 0)
		if tested.ExitCode != 0 {
			return answer, nil
		}
	}
	answer.Accepted = true
	started, log, err := r.tryStart(ctx, node)
	answer.Started = started
	answer.Messages = appendNew(answer.Messages, patterns.startupMessages(spec, log, !started))
	return answer, err
}

// appendNew appends messages with new texts.
func appendNew(known, more []model.StartupMessage) []model.StartupMessage {
	for _, one := range more {
		if !slices.ContainsFunc(known, func(o model.StartupMessage) bool { return o.Text == one.Text }) {
			known = append(known, one)
		}
	}
	return known
}

// hostNames returns the server names that the balancer may resolve.
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

// isolatedNode is a node without a network, which resolves every upstream host to itself.
type isolatedNode struct {
	spec  plan.Spec
	files []model.File
	hosts []string
}

// runIsolated runs a command in an isolated node and waits for it to exit.
func (r *Rig) runIsolated(ctx context.Context, node isolatedNode, command []string) (output Output, err error) {
	n, err := r.startIsolated(ctx, node, command)
	if err == nil {
		output, err = waitForExit(ctx, n)
	}
	if err != nil {
		return output, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	return output, nil
}

// commandTimeout bounds a config test or version command.
const commandTimeout = time.Minute

// waitForExit waits until a node's process exits and returns its output.
func waitForExit(ctx context.Context, n Node) (Output, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandTimeout, fmt.Errorf("still running after %s", commandTimeout))
	defer cancel()
	for {
		state, err := n.State(ctx)
		if err != nil {
			return Output{}, err
		}
		if !state.Running {
			var log strings.Builder
			err := n.Logs(ctx, LogOptions{Stdout: &log, Stderr: &log})
			return Output{state.ExitCode, log.String()}, err
		}
		if !sleep.For(ctx, 20*time.Millisecond) {
			return Output{}, context.Cause(ctx)
		}
	}
}

// startIsolated starts an isolated node with a command.
func (r *Rig) startIsolated(ctx context.Context, node isolatedNode, command []string) (Node, error) {
	spec := node.spec
	found, err := r.runtime.Image(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	spec.Command, spec.AutoRestart, spec.HealthCommand = command, false, nil
	s := Start{Spec: spec, Image: found, Files: node.files, Privileges: PrivilegesOf(spec.Role), Isolated: true}
	for _, name := range node.hosts {
		name = strings.TrimSuffix(name, ".")
		// /etc/hosts matches literally: a name with a trailing dot needs its own entry.
		s.LoopbackHosts = append(s.LoopbackHosts, name, name+".")
	}
	return r.stack.Start(ctx, s)
}

// listenTimeout bounds the time until a balancer listens on every port.
const listenTimeout = "10s"

// tryStart starts the balancer and reports whether it listens on every port and keeps running. log is its output.
func (r *Rig) tryStart(ctx context.Context, node isolatedNode) (started bool, log string, err error) {
	spec := node.spec
	n, err := r.startIsolated(ctx, node, spec.Command)
	if err != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, err)
	}
	wait := []string{"wait-ports", "--within", listenTimeout, "--settle", spec.SettleTime.String()}
	if len(spec.Ports) > 0 {
		wait = append(wait, "--ports", portList(spec.Ports))
	}
	output, err := n.Run(ctx, Command{Argv: wait, RunLbproof: true})
	listens := err == nil && output.ExitCode == 0
	state, stateErr := n.State(ctx)
	if stateErr != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, stateErr)
	}
	if err != nil && state.Running { // otherwise the balancer exited before the sidecar started
		return false, "", fmt.Errorf("wait until %s listens: %w", spec.Name, err)
	}
	var text strings.Builder
	err = writeLog(ctx, n, spec.Name, &text)
	return listens && state.Running, text.String(), err
}
