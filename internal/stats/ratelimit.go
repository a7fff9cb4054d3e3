package stats

import (
	"math"
	"time"
)

// TimeBounds is when something happened, as far as it is known.
type TimeBounds struct{ Earliest, Latest time.Duration }

// Bucket admits Room requests at once and Rate per second after that; what it refuses costs nothing. It begins full.
type Bucket struct{ Capacity, Rate float64 }

// Admits bounds, after each request, how many of those so far the bucket has admitted. The requests are in the order of After.
//
// A set of requests is admissible iff each part of it that lies between two of its requests i and j is at most
// room + rate·(tⱼ−tᵢ), and who admits whenever that allows it admits the most. With the latest time so far for tⱼ and the earliest
// for tᵢ that is no less than the real number, the other way round no more. Of the requests so far a later one may have taken
// the room, unless it is known to be later: least is that of the last such time.
func (b Bucket) Admits(at []TimeBounds) (least, most []int) {
	least, most = make([]int, len(at)), make([]int, len(at))
	loose, tight := bucketFill{b, math.Inf(1), 0}, bucketFill{b, math.Inf(1), 0}
	latest, known := time.Duration(math.MinInt64), 0
	for k, t := range at {
		latest = max(latest, t.Latest)
		loose.admit(t.Earliest, latest)
		tight.admit(t.Latest, t.Earliest)
		if k+1 == len(at) || latest <= at[k+1].Earliest {
			known = tight.n
		}
		least[k], most[k] = known, loose.n
	}
	return least, most
}

// bucketFill is a bucket under way: lowest is the least of (number of an admitted request) − rate·(its time).
type bucketFill struct {
	Bucket
	lowest float64
	n      int
}

// admit admits a request where there is room: from is its time for those after it, to for those before.
func (f *bucketFill) admit(from, to time.Duration) {
	const rounding = 1e-9
	if float64(f.n+2)-f.Rate*to.Seconds() > f.Capacity+f.lowest+rounding {
		return
	}
	f.n++
	f.lowest = min(f.lowest, float64(f.n)-f.Rate*from.Seconds())
}

// MinWaits bounds from below how long each admitted request waits for its turn where delay requests beyond the rate need not.
func (b Bucket) MinWaits(admitted []TimeBounds, delay int) []time.Duration {
	out := make([]time.Duration, len(admitted))
	lowest, latest := math.Inf(1), time.Duration(math.MinInt64)
	for k, t := range admitted {
		latest = max(latest, t.Latest)
		lowest = min(lowest, float64(k)-b.Rate*t.Earliest.Seconds())
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

// freqCounter is HAProxy's frequency counter (freq_ctr.c): requests since a tick, and in the period before it. When the tick was is
// known from and to.
type freqCounter struct {
	tickFrom, tickTo  time.Duration
	current, previous int
}

// Admits bounds, after each request, how many of those so far the window has admitted. The requests are in the order of After.
// The estimate that decides is now + before·(rest of the period)/period, rounded down. A request that may have come on
// either side of a tick is followed on both.
func (w Window) Admits(at []TimeBounds) (least, most []int) {
	least, most = make([]int, len(at)), make([]int, len(at))
	var states []freqCounter
	low, high := 0, 0
	for k, t := range at {
		states = w.advance(states, t)
		under, over := math.Inf(1), math.Inf(-1)
		for _, c := range states {
			under = min(under, w.estimate(c, c.tickFrom, t.Latest))
			over = max(over, w.estimate(c, c.tickTo, t.Earliest))
		}
		under -= float64(countReordered(at[:k], func(o TimeBounds) bool { return o.Latest > t.Earliest }))
		over += float64(countReordered(at[k+1:], func(o TimeBounds) bool { return o.Earliest < t.Latest }))
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

// countReordered counts the requests that may have come in the other order.
func countReordered(others []TimeBounds, may func(TimeBounds) bool) int {
	n := 0
	for _, o := range others {
		if may(o) {
			n++
		}
	}
	return n
}

// advance is what the counter may be after a request.
func (w Window) advance(states []freqCounter, t TimeBounds) []freqCounter {
	if len(states) == 0 {
		return []freqCounter{{tickFrom: t.Earliest - 2*time.Millisecond, tickTo: t.Latest, current: 1}}
	}
	var out []freqCounter
	add := func(c freqCounter) {
		for i, o := range out {
			if o.current == c.current && o.previous == c.previous {
				out[i].tickFrom, out[i].tickTo = min(o.tickFrom, c.tickFrom), max(o.tickTo, c.tickTo)
				return
			}
		}
		out = append(out, c)
	}
	for _, c := range states {
		soonest, latest := t.Earliest-c.tickTo, t.Latest-c.tickFrom
		if soonest < w.Period {
			add(freqCounter{tickFrom: max(c.tickFrom, t.Earliest-w.Period), tickTo: c.tickTo, current: c.current + 1, previous: c.previous})
		}
		if latest >= w.Period && soonest < 2*w.Period {
			add(freqCounter{tickFrom: c.tickFrom + w.Period, tickTo: min(c.tickTo+w.Period, t.Latest), current: 1, previous: c.current})
		}
		if latest >= 2*w.Period {
			add(freqCounter{tickFrom: t.Earliest - 2*time.Millisecond, tickTo: t.Latest, current: 1})
		}
	}
	return out
}

// estimate is the rate that the counter gives, in requests per period, at a time when its tick was at another.
func (w Window) estimate(c freqCounter, tick, t time.Duration) float64 {
	rest := min(max(0, tick+w.Period-t), w.Period)
	return float64(c.current) + float64(c.previous)*float64(rest)/float64(w.Period)
}
