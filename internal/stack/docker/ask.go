package docker

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Ask lets the balancer itself look at a configuration: its own checker first, then its start, in containers without a
// network in which every upstream host is known. Nothing is left running.
func (d *Docker) Ask(ctx context.Context, balancer plan.Spec, cfg model.Config) (answer model.Answered, err error) {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	s := d.newStack(hex.EncodeToString(id[:]))
	if err := s.startReaper(ctx); err != nil {
		return answer, fmt.Errorf("start the reaper: %w", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	spec, made, err := new(stack.Authority).Furnish(balancer, cfg.Needs)
	if err != nil {
		return answer, err
	}
	files := append(slices.Clone(cfg.Files), made...)
	hosts := hostNames(cfg)
	d.Progress("asking " + cfg.Balancer + " itself")
	version, err := s.alone(ctx, spec, spec.Version, files, hosts)
	if err != nil {
		return answer, err
	}
	answer.Version = VersionLine(version.said)
	if len(spec.Check) > 0 {
		checked, err := s.alone(ctx, spec, spec.Check, files, hosts)
		if err != nil {
			return answer, err
		}
		answer.Said = complaints(spec, checked.said, checked.code != 0)
		if checked.code != 0 {
			return answer, nil
		}
	}
	answer.Accepted = true
	started, said, err := s.tryStart(ctx, spec, files, hosts)
	answer.Started = started
	for _, one := range complaints(spec, said, !started) {
		if !slices.ContainsFunc(answer.Said, func(o model.Said) bool { return o.Text == one.Text }) {
			answer.Said = append(answer.Said, one)
		}
	}
	return answer, err
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

// outcome is what a command that ended printed.
type outcome struct {
	code int
	said string
}

// alone runs a command of the spec's image to its end, without a network.
func (s *Stack) alone(ctx context.Context, spec plan.Spec, command []string, files []model.File, hosts []string) (outcome, error) {
	c, err := s.isolated(ctx, spec, command, files, hosts,
		testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(time.Minute).WithPollInterval(20*time.Millisecond)))
	if err != nil {
		return outcome{}, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	state, err := c.State(ctx)
	if err != nil {
		return outcome{}, fmt.Errorf("run %s: %w", strings.Join(command, " "), err)
	}
	var said strings.Builder
	err = s.copyLogs(ctx, c.GetContainerID(), &said)
	return outcome{state.ExitCode, said.String()}, err
}

// isolated starts a container that sees no network, and knows every upstream host.
func (s *Stack) isolated(ctx context.Context, spec plan.Spec, command []string, files []model.File, hosts []string, more ...testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
	found, err := s.docker.Image(ctx, spec.Image)
	if err != nil {
		return nil, err
	}
	one := spec
	one.Command, one.Restarts, one.Health = command, false, nil
	host := func(h *container.HostConfig) {
		h.NetworkMode = "none"
		for _, name := range hosts {
			name = strings.TrimSuffix(name, ".")
			h.ExtraHosts = append(h.ExtraHosts, name+":127.0.0.1", name+".:127.0.0.1") // which only name servers take for one
		}
	}
	return testcontainers.Run(ctx, found.Ref, append(s.options(one, files, tweak{host: host}), more...)...)
}

// beside runs a command of lbproof's own to its end in a container's network, among its processes too if it is to see them, with
// the capabilities that it needs.
func (s *Stack) beside(ctx context.Context, c testcontainers.Container, name string, command []string, processes bool, capabilities ...string) (outcome, error) {
	own, err := s.docker.own(ctx)
	if err != nil {
		return outcome{}, err
	}
	there := inside(c)
	into := there.host
	there.host = func(h *container.HostConfig) {
		into(h)
		h.CapAdd = append(h.CapAdd, capabilities...)
		if processes {
			h.PidMode = container.PidMode("container:" + c.GetContainerID())
		}
	}
	r, err := testcontainers.Run(ctx, own.Ref, append(s.options(plan.Spec{Name: name, Role: roleAid, Command: command}, nil, there),
		testcontainers.WithWaitStrategy(wait.ForExit().WithExitTimeout(time.Minute).WithPollInterval(20*time.Millisecond)))...)
	if err != nil {
		return outcome{}, err
	}
	state, err := r.State(ctx)
	if err != nil {
		return outcome{}, err
	}
	var said strings.Builder
	err = s.copyLogs(ctx, r.GetContainerID(), &said)
	return outcome{state.ExitCode, said.String()}, err
}

// startsWithin is how long a balancer may take until it listens.
const startsWithin = "10s"

// tryStart starts the balancer for a moment: it must listen on every port. said is what it printed.
func (s *Stack) tryStart(ctx context.Context, spec plan.Spec, files []model.File, hosts []string) (started bool, said string, err error) {
	c, err := s.isolated(ctx, spec, spec.Command, files, hosts)
	if err != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, err)
	}
	var ports []string
	for _, p := range spec.Ports {
		ports = append(ports, strconv.Itoa(p))
	}
	reach := []string{"/lbproof", "reach", "--within", startsWithin, "--settle", spec.Settle.String()}
	if len(ports) > 0 {
		reach = append(reach, "--ports", strings.Join(ports, ","))
	}
	found, err := s.beside(ctx, c, spec.Name+"-reach", reach, false)
	reached := err == nil && found.code == 0
	state, stateErr := c.State(ctx)
	if stateErr != nil {
		return false, "", fmt.Errorf("start %s: %w", spec.Name, stateErr)
	}
	if err != nil && state.Running { // else the container to stand beside was gone, which is the answer
		return false, "", fmt.Errorf("see whether %s listens: %w", spec.Name, err)
	}
	var text strings.Builder
	err = s.copyLogs(ctx, c.GetContainerID(), &text)
	return reached && state.Running, text.String(), err
}

// Complaints are the warnings and errors that a node has printed so far.
func (s *Stack) Complaints(ctx context.Context, spec plan.Spec) ([]model.Said, error) {
	var said strings.Builder
	err := s.Logs(ctx, spec.Name, &said)
	return complaints(spec, said.String(), false), err
}

// VersionLine is the line of a version command's output that has the version in it.
func VersionLine(said string) string {
	for line := range strings.Lines(said) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return strings.TrimSpace(said)
}

// complaint matches the lines in which nginx, HAProxy and Traefik tell of a problem.
var complaint = regexp.MustCompile(`\[(emerg|alert|crit|error|warn)\]|\[(ALERT|WARNING)\]|\bERR\b|\bWRN\b|\bFTL\b|level=(error|warning|fatal)|command \w+ error`)

// colour matches what makes a terminal's text colourful.
var colour = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// complaints are the warnings and errors of a log, with the user's own files and lines. Where all is asked for and none is
// marked as a complaint, the whole is one.
func complaints(spec plan.Spec, said string, all bool) []model.Said {
	var out, plain []model.Said
	scanner := bufio.NewScanner(strings.NewReader(colour.ReplaceAllString(said, "")))
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" {
			continue
		}
		one := model.Said{Text: line}
		for _, at := range slices.Sorted(maps.Keys(spec.Files)) {
			name := spec.Files[at]
			for _, mark := range []string{at + ":"} {
				if _, after, ok := strings.Cut(one.Text, mark); ok {
					one.Pos.File = name
					_, _ = fmt.Sscanf(after, "%d", &one.Pos.Line)
				}
			}
			one.Text = strings.ReplaceAll(one.Text, at, name)
		}
		if strings.Contains(line, "is DOWN, reason") || strings.Contains(line, "has no server available") {
			continue // no backend stands here
		}
		if complaint.MatchString(line) {
			out = append(out, one)
		}
		plain = append(plain, one)
	}
	if all && len(out) == 0 {
		return plain
	}
	return out
}
