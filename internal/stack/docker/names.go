package docker

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"

	"github.com/lbproof/lbproof/internal/plan"
)

// Names of containers and networks contain the run's id: "lbproof-1a2b3c4d-nginx", "lbproof-1a2b3c4d". They are for
// people; lbproof finds what a run has created by its label.

const (
	maxNodeName  = 64  // bytes of a node's name in a container name
	nameAttempts = 100 // names to try if other containers use them
)

// nextName returns the next unused container name of a node in this run: the second container has the suffix "-2".
func (s *Stack) nextName(nodeName string) string {
	base := containerName(s.config.Run, nodeName)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[base]++
	return numbered(base, s.names[base])
}

// containerName returns a container name for a node, with "-" for invalid characters: "[::1]", "größe".
func containerName(run, nodeName string) string {
	valid := func(r rune) rune {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if letter || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r) {
			return r
		}
		return '-'
	}
	name := strings.Map(valid, strings.ReplaceAll(nodeName, plan.HarnessName(""), ""))
	return "lbproof-" + run + "-" + name[:min(len(name), maxNodeName)]
}

// numbered adds a number to a name, except to the first one.
func numbered(base string, n int) string {
	if n < 2 {
		return base
	}
	return fmt.Sprintf("%s-%d", base, n)
}

// run creates a container, and starts it unless the options say otherwise. If the name is in use, it applies the
// options again, which get another name from nextName.
func (s *Stack) run(
	ctx context.Context, image string, options ...testcontainers.ContainerCustomizer,
) (c testcontainers.Container, err error) {
	err = s.withFreeName(func() error {
		c, err = testcontainers.Run(ctx, image, options...)
		return err
	})
	return c, err
}

// withFreeName repeats create while its name is in use.
func (s *Stack) withFreeName(create func() error) (err error) {
	for range nameAttempts {
		if err = create(); !errdefs.IsConflict(err) {
			return err
		}
	}
	return err
}

// networkName returns a free name for a network: with the run's id for the main network, with the prefix too for
// others. It adds a number if another network, such as one that Docker has not released, has the name.
func (s *Stack) networkName(ctx context.Context, of subnet) (string, error) {
	base := "lbproof-" + s.config.Run
	if !of.main {
		base += "-" + strings.ReplaceAll(of.config.Subnet.String(), "/", "-")
	}
	found, err := s.engine.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the networks: %w", err)
	}
	taken := map[string]bool{}
	for _, n := range found.Items {
		taken[n.Name] = true
	}
	n := 1
	for taken[numbered(base, n)] {
		n++
	}
	return numbered(base, n), nil
}
