package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/lbproof/lbproof/internal/plan"
)

// Streams are the standard streams of a node that the harness talks to. Nothing of them goes through a port or a log file.
type Streams struct {
	In   net.Conn
	Out  *io.PipeReader
	Log  Log // what the node wrote to its standard error
	done chan struct{}
}

// Log keeps text that is written while it is read.
type Log struct {
	mu   sync.Mutex
	text []byte
}

// maxLog bounds what a node that talks without end makes the harness hold.
const maxLog = 1 << 20

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), maxLog-len(l.text))]...)
	return len(p), nil
}

// Bytes is what was written so far.
func (l *Log) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.text)
}

// StartAttached brings up a node like Start, with its standard streams in the caller's hands.
func (s *Stack) StartAttached(ctx context.Context, spec plan.Spec) (*Streams, error) {
	capable := tweak{host: func(h *container.HostConfig) {
		if s.clients.IsValid() {
			h.CapAdd = append(h.CapAdd, "NET_ADMIN") // for the route that makes the addresses its own, and which only root is given
		}
	}}
	if s.clients.IsValid() {
		spec.User = "0"
	}
	one := &node{spec: spec}
	where := []testcontainers.ContainerCustomizer{network.WithNetworkName([]string{spec.Host()}, s.networks[0].name)}
	var err error
	if s.Pods {
		if one.pod, err = s.startPod(ctx, spec); err != nil {
			return nil, err
		}
		there := inside(one.pod.container)
		capable.config, where = there.config, nil
		into := capable.host
		capable.host = func(h *container.HostConfig) { into(h); there.host(h) }
	}
	var streams *Streams
	if one.container, one.image, streams, err = s.attach(ctx, spec, capable, where); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes[spec.Name] = one
	return streams, nil
}

// attach starts a container whose standard streams the harness holds.
func (s *Stack) attach(ctx context.Context, spec plan.Spec, t tweak, networks []testcontainers.ContainerCustomizer) (testcontainers.Container, Found, *Streams, error) {
	found, err := s.docker.Image(ctx, spec.Image)
	if err != nil {
		return nil, found, nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	var attached client.ContainerAttachResult
	attach := func(ctx context.Context, c testcontainers.Container) (err error) {
		attached, err = s.docker.client.ContainerAttach(ctx, c.GetContainerID(), client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
		return err
	}
	direct := tweak{
		config: func(c *container.Config) {
			c.OpenStdin, c.StdinOnce, c.AttachStdin = true, true, true
			if t.config != nil {
				t.config(c)
			}
		},
		host: func(h *container.HostConfig) {
			h.LogConfig = container.LogConfig{Type: "none"}
			t.host(h)
		},
	}
	options := append(s.options(spec, nil, direct),
		testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{PreStarts: []testcontainers.ContainerHook{attach}}))
	c, err := s.launch(ctx, found.Ref, options, networks)
	if err != nil {
		return nil, found, nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	return c, found, pump(attached.HijackedResponse), nil
}

// pump takes the engine's multiplexed stream apart.
func pump(attached client.HijackedResponse) *Streams {
	r, w := io.Pipe()
	s := &Streams{In: attached.Conn, Out: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		_, err := stdcopy.StdCopy(w, &s.Log, attached.Reader)
		w.CloseWithError(err)
	}()
	return s
}

// Close ends the streams, which the node sees as the end of its input.
func (s *Streams) Close() {
	s.In.Close()
	s.Out.Close()
	<-s.done
}
