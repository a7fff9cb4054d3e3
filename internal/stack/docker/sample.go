package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/history"
)

// Sample says what every container has used so far. Their At is left to the caller. One that is down at the moment is left out.
func (s *Stack) Sample(ctx context.Context) []history.Sample {
	names := s.names()
	samples := make([]*history.Sample, len(names))
	var asking sync.WaitGroup
	for i, name := range names {
		asking.Go(func() { samples[i], _ = s.sampleOne(ctx, name) })
	}
	asking.Wait()
	var out []history.Sample
	for _, one := range samples {
		if one != nil {
			out = append(out, *one)
		}
	}
	return out
}

func (s *Stack) sampleOne(ctx context.Context, name string) (*history.Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	n := s.node(name)
	stats, err := s.stats(ctx, n.container.GetContainerID())
	if err != nil {
		return nil, fmt.Errorf("sample %s: %w", name, err)
	}
	if stats.CPUStats.CPUUsage.TotalUsage == 0 {
		return nil, fmt.Errorf("sample %s: it is not running", name)
	}
	out := &history.Sample{
		Node: name, CPU: time.Duration(stats.CPUStats.CPUUsage.TotalUsage), Throttled: time.Duration(stats.CPUStats.ThrottlingData.ThrottledTime),
		Memory: int64(stats.MemoryStats.Usage) - pageCache(stats.MemoryStats.Stats),
	}
	networks := stats.Networks
	if n.pod != nil {
		agents, _ := s.stats(ctx, n.pod.container.GetContainerID()) // its network is the node's
		networks = agents.Networks
	}
	for _, network := range networks {
		out.Received += int64(network.RxBytes)
		out.Sent += int64(network.TxBytes)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Restarts = n.starts
	return out, nil
}

func (s *Stack) stats(ctx context.Context, id string) (stats container.StatsResponse, err error) {
	answer, err := s.docker.client.ContainerStats(ctx, id, client.ContainerStatsOptions{})
	if err != nil {
		return stats, err
	}
	defer answer.Body.Close()
	return stats, json.NewDecoder(answer.Body).Decode(&stats)
}

// pageCache is what of a container's memory the kernel can take back: cgroup v1's and v2's name for it.
func pageCache(stats map[string]uint64) int64 {
	if v, ok := stats["total_inactive_file"]; ok {
		return int64(v)
	}
	return int64(stats["inactive_file"])
}
