package traffic

import (
	"fmt"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// inFlight counts how many spans of time overlap, in constant memory: it doubles the length of its cells as time goes
// on.
type inFlight struct {
	cell   time.Duration
	delta  []int  // spans that begin minus spans that ended, by cell
	marked []bool // cells that count for minMarked
}

const (
	minCell  = 100 * time.Microsecond
	maxCells = 1 << 16
)

func (o *inFlight) add(from, to time.Duration) {
	if o.cell == 0 {
		o.cell = minCell
	}
	for int(to/o.cell)+1 >= maxCells {
		o.coarsen()
	}
	last := int(to/o.cell) + 1
	for len(o.delta) <= last {
		o.delta, o.marked = append(o.delta, 0), append(o.marked, false)
	}
	o.delta[max(0, int(from/o.cell))]++
	o.delta[last]--
}

func (o *inFlight) coarsen() {
	o.cell *= 2
	half, marked := make([]int, len(o.delta)/2+1), make([]bool, len(o.delta)/2+1)
	for i, d := range o.delta {
		half[i/2] += d
		marked[i/2] = marked[i/2] || o.marked[i]
	}
	o.delta, o.marked = half, marked
}

// mark selects the end of a span that was added.
func (o *inFlight) mark(to time.Duration) { o.marked[int(to/o.cell)] = true }

// minMarked returns the smallest number of spans at a marked time; 0 if there is none.
func (o *inFlight) minMarked() int {
	now, least := 0, 0
	for i, d := range o.delta {
		if now += d; o.marked[i] && (least == 0 || now < least) {
			least = now
		}
	}
	return least
}

// peak returns the largest number of concurrent spans, to within a cell.
func (o *inFlight) peak() int {
	now, most := 0, 0
	for _, d := range o.delta {
		now += d
		most = max(most, now)
	}
	return most
}

// phaseInFlight counts the concurrent requests of a phase.
type phaseInFlight struct {
	peak      int      // as counted by the load generator
	all       inFlight // marked at failures
	succeeded inFlight // answered without an error
}

func (c *phaseInFlight) add(hit history.Hit) {
	c.peak = max(c.peak, hit.InFlight)
	c.all.add(hit.Sent, hit.Done)
	if hit.Failed() {
		c.all.mark(hit.Done)
		return
	}
	c.succeeded.add(hit.Sent, hit.Done)
}

// explainOverload explains failures in a phase with more concurrent requests than one worker of the balancer has
// connections for, or returns "".
func explainOverload(h history.History, phase int) string {
	w := h.Plan.Config.Workers
	var c phaseInFlight
	for hit := range h.Hits {
		if hit.Phase == phase {
			c.add(hit)
		}
	}
	if w.Connections == 0 || h.Env.Workers == 0 || c.peak <= w.Connections/2 {
		return ""
	}
	text := fmt.Sprintf("in phase %s up to %s requests were in flight; ", h.Plan.Phases[phase].Name, units.Number(c.peak))
	text += fmt.Sprintf("they failed from %s on, and at most %s succeeded concurrently",
		units.Number(c.all.minMarked()), units.Number(c.succeeded.peak()))
	text += fmt.Sprintf(": by %s a worker has %s and a proxied request takes two, so %s in each of %s",
		w.ConnectionsPos, units.Plural(w.Connections, "connection"), units.Number(w.Connections/2),
		units.Plural(h.Env.Workers, "worker"))
	for _, l := range check.MatchLog(h, h.Plan.Config.Dialect.Log.NoConnections) {
		text += fmt.Sprintf("; the balancer's log confirms it: %s × %s", units.Number(l.Count), l.Text)
	}
	return text
}
