package stats

import (
	"math"
	"time"
)

// Instant is when something happened, as far as it is known.
type Instant struct{ After, Before time.Duration }

// Bucket admits Room requests at once and Rate per second after that; what it refuses costs nothing. It begins full.
type Bucket struct{ Room, Rate float64 }

// Admits bounds, after each request, how many of those so far the bucket has admitted. The requests are in the order of After.
//
// A set of requests is admissible iff each part of it that lies between two of its requests i and j is at most
// room + rate·(tⱼ−tᵢ), and who admits whenever that allows it admits the most. With the latest time so far for tⱼ and the earliest
// for tᵢ that is no less than the real number, the other way round no more. Of the requests so far a later one may have taken
// the room, unless it is known to be later: least is that of the last such time.
func (b Bucket) Admits(at []Instant) (least, most []int) {
	least, most = make([]int, len(at)), make([]int, len(at))
	loose, tight := fill{b, math.Inf(1), 0}, fill{b, math.Inf(1), 0}
	latest, known := time.Duration(math.MinInt64), 0
	for k, t := range at {
		latest = max(latest, t.Before)
		loose.take(t.After, latest)
		tight.take(t.Before, t.After)
		if k+1 == len(at) || latest <= at[k+1].After {
			known = tight.n
		}
		least[k], most[k] = known, loose.n
	}
	return least, most
}

// fill is a bucket under way: lowest is the least of (number of an admitted request) − rate·(its time).
type fill struct {
	Bucket
	lowest float64
	n      int
}

// take admits a request where there is room: from is its time for those after it, to for those before.
func (f *fill) take(from, to time.Duration) {
	const rounding = 1e-9
	if float64(f.n+2)-f.Rate*to.Seconds() > f.Room+f.lowest+rounding {
		return
	}
	f.n++
	f.lowest = min(f.lowest, float64(f.n)-f.Rate*from.Seconds())
}

// Waits bounds from below how long each admitted request waits for its turn where delay requests beyond the rate need not.
func (b Bucket) Waits(admitted []Instant, delay int) []time.Duration {
	out := make([]time.Duration, len(admitted))
	lowest, latest := math.Inf(1), time.Duration(math.MinInt64)
	for k, t := range admitted {
		latest = max(latest, t.Before)
		lowest = min(lowest, float64(k)-b.Rate*t.After.Seconds())
		excess := float64(k) - b.Rate*latest.Seconds() - lowest - float64(delay)
		out[k] = time.Duration(max(0, excess) / b.Rate * float64(time.Second))
	}
	return out
}

// Window admits while the requests of the last Period, itself included, are at most Limit. What it refuses counts too.
type Window struct {
	Period time.Duration
	Limit  int
}

// counter is HAProxy's frequency counter (freq_ctr.c): requests since a tick, and in the period before it. When the tick was is
// known from and to.
type counter struct {
	from, to    time.Duration
	now, before int
}

// Admits bounds, after each request, how many of those so far the window has admitted. The requests are in the order of After.
// The estimate that decides is now + before·(rest of the period)/period, rounded down. A request that may have come on
// either side of a tick is followed on both.
func (w Window) Admits(at []Instant) (least, most []int) {
	least, most = make([]int, len(at)), make([]int, len(at))
	var states []counter
	low, high := 0, 0
	for k, t := range at {
		states = w.count(states, t)
		under, over := math.Inf(1), math.Inf(-1)
		for _, c := range states {
			under = min(under, w.estimate(c, c.from, t.Before))
			over = max(over, w.estimate(c, c.to, t.After))
		}
		under -= float64(overlapping(at[:k], func(o Instant) bool { return o.Before > t.After }))
		over += float64(overlapping(at[k+1:], func(o Instant) bool { return o.After < t.Before }))
		if math.Floor(over) <= float64(w.Limit) {
			low++
		}
		if math.Floor(under) <= float64(w.Limit) {
			high++
		}
		least[k], most[k] = low, high
	}
	return least, most
}

// overlapping counts the requests that may have come in the other order.
func overlapping(others []Instant, may func(Instant) bool) int {
	n := 0
	for _, o := range others {
		if may(o) {
			n++
		}
	}
	return n
}

// count is what the counter may be after a request.
func (w Window) count(states []counter, t Instant) []counter {
	if len(states) == 0 {
		return []counter{{from: t.After - 2*time.Millisecond, to: t.Before, now: 1}}
	}
	var out []counter
	add := func(c counter) {
		for i, o := range out {
			if o.now == c.now && o.before == c.before {
				out[i].from, out[i].to = min(o.from, c.from), max(o.to, c.to)
				return
			}
		}
		out = append(out, c)
	}
	for _, c := range states {
		soonest, latest := t.After-c.to, t.Before-c.from
		if soonest < w.Period {
			add(counter{from: max(c.from, t.After-w.Period), to: c.to, now: c.now + 1, before: c.before})
		}
		if latest >= w.Period && soonest < 2*w.Period {
			add(counter{from: c.from + w.Period, to: min(c.to+w.Period, t.Before), now: 1, before: c.now})
		}
		if latest >= 2*w.Period {
			add(counter{from: t.After - 2*time.Millisecond, to: t.Before, now: 1})
		}
	}
	return out
}

// estimate is the rate that the counter gives, in requests per period, at a time when its tick was at another.
func (w Window) estimate(c counter, tick, t time.Duration) float64 {
	rest := min(max(0, tick+w.Period-t), w.Period)
	return float64(c.now) + float64(c.before)*float64(rest)/float64(w.Period)
}
