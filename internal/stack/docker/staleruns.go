package docker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
)

// StaleRun is what a run that has ended left behind.
type StaleRun struct {
	Run         string
	LastCreated time.Time // creation of its newest container or network, by the engine's clock
	left        []leftover
}

// String lists the containers and networks.
func (r StaleRun) String() string {
	return fmt.Sprintf("run %s of %s: %s", r.Run, r.LastCreated.UTC().Format(time.DateTime), describeLeftovers(r.left))
}

// reaperStartGrace is how long a run without a running reaper counts as active after it has created something: its
// reaper may be starting, or being replaced.
const reaperStartGrace = 30 * time.Second

// StaleRuns lists what runs without a running reaper left behind: lbproof was killed before its reaper ran, or both
// were killed.
func (e *Engine) StaleRuns(ctx context.Context) ([]StaleRun, error) {
	info, err := e.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("find stale runs: %w", err)
	}
	now, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime)
	if err != nil {
		return nil, fmt.Errorf("find stale runs: the engine's clock: %w", err)
	}
	return e.staleRunsAt(ctx, now)
}

// staleRunsAt is StaleRuns at a given time.
func (e *Engine) staleRunsAt(ctx context.Context, now time.Time) ([]StaleRun, error) {
	ours := make(client.Filters).Add("label", labelRun)
	containers, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("find stale runs: %w", err)
	}
	networks, err := e.client.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("find stale runs: %w", err)
	}
	runs, alive := map[string]*StaleRun{}, map[string]bool{}
	add := func(run string, since time.Time, l leftover) {
		if runs[run] == nil {
			runs[run] = &StaleRun{Run: run}
		}
		r := runs[run]
		r.left = append(r.left, l)
		if since.After(r.LastCreated) {
			r.LastCreated = since
		}
	}
	for _, c := range containers.Items {
		run, reaps := c.Labels[labelRun], c.Labels[labelRole] == string(stack.Reaper)
		alive[run] = alive[run] || reaps && c.State == container.StateRunning
		add(run, time.Unix(c.Created, 0), newLeftover(c))
	}
	for _, n := range networks.Items {
		add(n.Labels[labelRun], n.Created, leftover{kind: "network", id: n.ID, name: n.Name})
	}
	var stale []StaleRun
	for run, r := range runs {
		if !alive[run] && now.Sub(r.LastCreated) > reaperStartGrace {
			stale = append(stale, *r)
		}
	}
	slices.SortFunc(stale, func(a, b StaleRun) int {
		return cmp.Or(a.LastCreated.Compare(b.LastCreated), cmp.Compare(a.Run, b.Run))
	})
	return stale, nil
}

// RemoveStaleRun removes a stale run. The error names what Docker does not release.
func (e *Engine) RemoveStaleRun(ctx context.Context, r StaleRun) error {
	ctx, cancel := context.WithTimeout(ctx, networkReleaseTimeout)
	defer cancel()
	for {
		left, err := listLeftovers(ctx, e.client, r.Run, true)
		if err != nil {
			return fmt.Errorf("remove stale run %s: %w", r.Run, err)
		}
		if len(left) == 0 {
			return nil
		}
		removeAll(ctx, e.client, left)
		if !sleep.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("remove stale run %s: Docker does not remove %s; restart Docker to release its networks",
				r.Run, describeLeftovers(left))
		}
	}
}

// removeStaleRuns removes stale runs before a new run. What cannot be removed is reported; it only affects runs that
// need its addresses.
func (e *Engine) removeStaleRuns(ctx context.Context) {
	stale, err := e.StaleRuns(ctx)
	if err != nil {
		e.Progress(err.Error())
		return
	}
	for _, r := range stale {
		if areOnlyNetworks(r.left) {
			// findReusable can reuse a network; waiting for Docker to release it may take long
			removeAll(ctx, e.client, r.left)
			continue
		}
		e.Progress("removing stale " + r.String())
		if err := e.RemoveStaleRun(ctx, r); err != nil {
			e.Progress(err.Error())
		}
	}
}
