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

// Remains are the containers and networks of a run that nobody carries out any more.
type Remains struct {
	Run   string
	Since time.Time // when the last of them was made, by the engine's clock
	left  []leftover
}

// String says what there is.
func (r Remains) String() string {
	return fmt.Sprintf("run %s, of %s: %s", r.Run, r.Since.UTC().Format(time.DateTime), list(r.left))
}

// settledAfter is how long after a run has made something it counts as going on though it has no reaper that runs: its
// reaper may be about to start, or just have been replaced.
const settledAfter = 30 * time.Second

// Remains lists what dead runs have left: those without a reaper that runs. A harness that was killed before its reaper
// ran leaves such, and a reaper that was killed after its harness.
func (e *Engine) Remains(ctx context.Context) ([]Remains, error) {
	info, err := e.client.Info(ctx, client.InfoOptions{})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
	}
	now, err := time.Parse(time.RFC3339Nano, info.Info.SystemTime)
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: the engine's clock: %w", err)
	}
	return e.remainsAt(ctx, now)
}

// remainsAt lists what runs have left that were dead by a time.
func (e *Engine) remainsAt(ctx context.Context, now time.Time) ([]Remains, error) {
	ours := make(client.Filters).Add("label", labelRun)
	containers, err := e.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
	}
	networks, err := e.client.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return nil, fmt.Errorf("look for the remains of runs: %w", err)
	}
	runs, alive := map[string]*Remains{}, map[string]bool{}
	add := func(run string, since time.Time, l leftover) {
		if runs[run] == nil {
			runs[run] = &Remains{Run: run}
		}
		r := runs[run]
		r.left = append(r.left, l)
		if since.After(r.Since) {
			r.Since = since
		}
	}
	for _, c := range containers.Items {
		run, reaps := c.Labels[labelRun], c.Labels[labelRole] == string(stack.Reaper)
		alive[run] = alive[run] || reaps && c.State == container.StateRunning
		add(run, time.Unix(c.Created, 0), leftoverOf(c))
	}
	for _, n := range networks.Items {
		add(n.Labels[labelRun], n.Created, leftover{what: "network", id: n.ID})
	}
	var dead []Remains
	for run, r := range runs {
		if !alive[run] && now.Sub(r.Since) > settledAfter {
			dead = append(dead, *r)
		}
	}
	slices.SortFunc(dead, func(a, b Remains) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Run, b.Run)) })
	return dead, nil
}

// Remove removes what a dead run has left. What Docker does not let go is an error that names it.
func (e *Engine) Remove(ctx context.Context, r Remains) error {
	ctx, cancel := context.WithTimeout(ctx, letsGo)
	defer cancel()
	for {
		left, err := leftovers(ctx, e.client, r.Run, true)
		if err != nil {
			return fmt.Errorf("remove what is left of run %s: %w", r.Run, err)
		}
		if len(left) == 0 {
			return nil
		}
		removeAll(ctx, e.client, left)
		if !sleep.For(ctx, 20*time.Millisecond) {
			return fmt.Errorf("remove what is left of run %s: still there: %s; restarting Docker frees networks that "+
				"it does not let go", r.Run, list(left))
		}
	}
}

// sweep removes what dead runs have left, before a run begins. What cannot be removed is told of, and disturbs only who
// needs its addresses.
func (e *Engine) sweep(ctx context.Context) {
	dead, err := e.Remains(ctx)
	if err != nil {
		e.Progress(err.Error())
		return
	}
	for _, r := range dead {
		if onlyNetworks(r.left) {
			// it can be used again, see abandoned; Docker may not let it go, which takes time to find out
			removeAll(ctx, e.client, r.left)
			continue
		}
		e.Progress("removing what is left of " + r.String())
		if err := e.Remove(ctx, r); err != nil {
			e.Progress(err.Error())
		}
	}
}
