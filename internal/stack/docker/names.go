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

// Containers and networks carry the run's id in their names: "lbproof-1a2b3c4d-nginx", "lbproof-1a2b3c4d". Names are
// for people; lbproof finds what a run has made by its label.

const (
	maxNodeName  = 64  // bytes of a node's name in a container's name
	nameAttempts = 100 // how many containers may have the same name by themselves
)

// nextName returns the next unused container name of a node in this run: the second container has the suffix "-2".
func (s *Stack) nextName(node string) string {
	base := containerName(s.config.Run, node)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[base]++
	return numbered(base, s.names[base])
}

// containerName is a valid container name, also for a node that is called as no container can be: "[::1]", "größe".
func containerName(run, node string) string {
	valid := func(r rune) rune {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if letter || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r) {
			return r
		}
		return '-'
	}
	name := strings.Map(valid, plan.ShortName(node))
	return "lbproof-" + run + "-" + name[:min(len(name), maxNodeName)]
}

// numbered adds the number of a namesake to a name; the first has none.
func numbered(base string, n int) string {
	if n < 2 {
		return base
	}
	return fmt.Sprintf("%s-%d", base, n)
}

// run creates a container, and starts it unless the options say otherwise. Options that take a name from nextName get
// another one where a container of somebody else has it.
func (s *Stack) run(
	ctx context.Context, image string, options ...testcontainers.ContainerCustomizer,
) (c testcontainers.Container, err error) {
	err = s.withFreeName(func() error {
		c, err = testcontainers.Run(ctx, image, options...)
		return err
	})
	return c, err
}

// withFreeName calls create again as long as the name that it tries is taken.
func (s *Stack) withFreeName(create func() error) (err error) {
	for range nameAttempts {
		if err = create(); !errdefs.IsConflict(err) {
			return err
		}
	}
	return err
}

// networkName returns the name of a network to be made: the run's own for the main one, with the addresses for others.
// A network of an earlier run that Docker has not let go may have it: then the name gets a number.
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
