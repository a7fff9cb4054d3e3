package checks

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/lbproof/lbproof/internal/lb"
)

// phases sums up the hits of each load, in one pass and in memory that does not depend on their number.
func phases(h lb.History) ([]lb.Phase, error) {
	tallies := make([]phaseTally, len(h.Plan.Loads))
	for i := range tallies {
		tallies[i] = newPhaseTally()
	}
	for hit := range h.Hits {
		if hit.Load < 0 || hit.Load >= len(tallies) {
			return nil, fmt.Errorf("hit %d belongs to phase %d, of %d", hit.Seq, hit.Load, len(tallies))
		}
		tallies[hit.Load].add(hit)
	}
	if err := h.Err(); err != nil {
		return nil, fmt.Errorf("sum up the phases: %w", err)
	}
	var out []lb.Phase
	for i, t := range tallies {
		out = append(out, t.phase(h, i))
	}
	return out, nil
}

type phaseTally struct {
	hits, errors int
	servers      map[string]int
	latency, lag *hdrhistogram.Histogram // microseconds
	first, last  time.Duration
}

// longest is the largest latency that the histograms tell apart.
const longest = time.Hour

func newPhaseTally() phaseTally {
	return phaseTally{
		servers: map[string]int{},
		latency: hdrhistogram.New(1, longest.Microseconds(), 3),
		lag:     hdrhistogram.New(1, longest.Microseconds(), 3),
	}
}

func (t *phaseTally) add(hit lb.Hit) {
	if t.hits == 0 || hit.Sent < t.first {
		t.first = hit.Sent
	}
	t.hits++
	t.last = max(t.last, hit.Done)
	if hit.Err != "" || hit.Code >= 400 {
		t.errors++
	}
	t.servers[who(hit)]++
	_ = t.latency.RecordValue(min(hit.Done-hit.Due, longest).Microseconds())
	_ = t.lag.RecordValue(min(hit.Sent-hit.Due, longest).Microseconds())
}

func (t *phaseTally) phase(h lb.History, i int) lb.Phase {
	micro := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	p := lb.Phase{
		Name: h.Plan.Loads[i].Name, Hits: t.hits, Errors: t.errors, Servers: t.servers, Offered: h.Plan.Loads[i].Rate,
		P50: micro(t.latency.ValueAtQuantile(50)), P99: micro(t.latency.ValueAtQuantile(99)), Max: micro(t.latency.Max()),
		LagP99: micro(t.lag.ValueAtQuantile(99)),
	}
	if took := (t.last - t.first).Seconds(); took > 0 {
		p.Achieved = float64(t.hits) / took
	}
	if i < len(h.Env.Phases) {
		if took := (h.Env.Phases[i].End - h.Env.Phases[i].Start).Seconds(); took > 0 {
			p.CPU = h.Env.Phases[i].CPU.Seconds() / took
		}
	}
	return p
}
