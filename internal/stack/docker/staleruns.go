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

// StaleRun are the containers and networks of a run that nobody carries out any more.
type StaleRun struct {
	Run         string
	LastCreated time.Time // when the last of them was made, by the engine's clock
	left        []leftover
}

// String says what there is.
func (r StaleRun) String() string {
	return fmt.Sprintf("run %s, of %s: %s", r.Run, r.LastCreated.UTC().Format(time.DateTime), describeLeftovers(r.left))
}

// reaperStartGrace is how long after a run has made something it counts as going on though it has no reaper that runs: its
// reaper may be about to start, or just have been replaced.
const reaperStartGrace = 30 * time.Second

// StaleRuns lists what dead runs have left: those without a reaper that runs. A harness that was killed before its reaper
// ran leaves such, and a reaper that was killed after its harness.
func (e *Engine) StaleRuns(ctx context.Context) ([]StaleRun, error) {
	info, err := e.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
	}
	now, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime)
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: the engine's clock: %w", err)
	}
	return e.staleRunsAt(ctx, now)
}

// staleRunsAt lists what runs have left that were dead by a time.
func (e *Engine) staleRunsAt(ctx context.Context, now time.Time) ([]StaleRun, error) {
	ours := make(client.Filters).Add("label", labelRun)
	containers, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
	}
	networks, err := e.client.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
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
		add(n.Labels[labelRun], n.Created, leftover{kind: "network", id: n.ID})
	}
	var dead []StaleRun
	for run, r := range runs {
		if !alive[run] && now.Sub(r.LastCreated) > reaperStartGrace {
			dead = append(dead, *r)
		}
	}
	slices.SortFunc(dead, func(a, b StaleRun) int {
		return cmp.Or(a.LastCreated.Compare(b.LastCreated), cmp.Compare(a.Run, b.Run))
	})
	return dead, nil
}

// RemoveStaleRun removes what a dead run has left. What Docker does not let go is an error that names it.
func (e *Engine) RemoveStaleRun(ctx context.Context, r StaleRun) error {
	ctx, cancel := context.WithTimeout(ctx, networkReleaseTimeout)
	defer cancel()
	for {
		left, err := listLeftovers(ctx, e.client, r.Run, true)
		if err != nil {
			return fmt.Errorf("remove what is left of run %s: %w", r.Run, err)
		}
		if len(left) == 0 {
			return nil
		}
		removeAll(ctx, e.client, left)
		if !sleep.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("remove what is left of run %s: still there: %s; restarting Docker frees networks that "+
				"it does not let go", r.Run, describeLeftovers(left))
		}
	}
}

// removeStaleRuns removes what dead runs have left, before a run begins. What cannot be removed is told of, and disturbs only who
// needs its addresses.
func (e *Engine) removeStaleRuns(ctx context.Context) {
	dead, err := e.StaleRuns(ctx)
	if err != nil {
		e.Progress(err.Error())
		return
	}
	for _, r := range dead {
		if areOnlyNetworks(r.left) {
			// it can be used again, see abandoned; Docker may not let it go, which takes time to find out
			removeAll(ctx, e.client, r.left)
			continue
		}
		e.Progress("removing what is left of " + r.String())
		if err := e.RemoveStaleRun(ctx, r); err != nil {
			e.Progress(err.Error())
		}
	}
}
