package stack

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/history"
)

// Sample returns the resource usage of every running node so far. The caller sets At.
func (r *Rig) Sample(ctx context.Context) []history.Sample {
	names := r.names()
	samples := make([]*history.Sample, len(names))
	var sampling sync.WaitGroup
	for i, name := range names {
		sampling.Go(func() { samples[i], _ = r.find(name).sample(ctx) })
	}
	sampling.Wait()
	var out []history.Sample
	for _, one := range samples {
		if one != nil {
			out = append(out, *one)
		}
	}
	return out
}

func (m *Member) sample(ctx context.Context) (*history.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := m.Node.Usage(ctx)
	if err != nil {
		return nil, fmt.Errorf("sample %s: %w", m.Spec.Name, err)
	}
	if m.Agent != nil {
		agents, _ := m.Agent.node.Usage(ctx) // it owns the node's network
		out.Received, out.Sent = agents.Received, agents.Sent
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out.Node, out.Restarts = m.Spec.Name, m.starts
	return &out, nil
}
