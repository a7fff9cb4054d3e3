package stats

import (
	"math"
	"time"
)

// TimeBounds bound the time of an event.
type TimeBounds struct{ Earliest, Latest time.Duration }

// Bucket admits Capacity requests at once and Rate per second after that. Refused requests cost nothing. It starts
// full.
type Bucket struct{ Capacity, Rate float64 }

// Admits bounds, after each request, the number of requests that the bucket has admitted so far. The requests are
// ordered by Earliest.
//
// A set of requests is admissible iff each part of it between two of its requests i and j is at most capacity +
// rate·(tⱼ−tᵢ), and the greedy rule admits the most. With the latest time so far for tⱼ and the earliest for tᵢ the
// greedy count is no less than the real one, the other way round no more. A later request may have taken the place of
// an earlier one unless it certainly came after it: least is the count at the last request for which that is certain.
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

// bucketFill is the state of a bucket: lowest is the minimum over admitted requests of (number of the request) −
// rate·(its time).
type bucketFill struct {
	Bucket
	lowest float64
	n      int
}

// admit admits a request if there is room: from is its time for later requests, to its time for earlier ones.
func (f *bucketFill) admit(from, to time.Duration) {
	const rounding = 1e-9
	if float64(f.n+2)-f.Rate*to.Seconds() > f.Capacity+f.lowest+rounding {
		return
	}
	f.n++
	f.lowest = min(f.lowest, float64(f.n)-f.Rate*from.Seconds())
}

// MinWaits returns a lower bound on the delay of each admitted request, if delay requests beyond the rate are not
// delayed.
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

// Window admits a request while those of the last Period, including itself, are at most Limit. Refused requests count
// too.
type Window struct {
	Period time.Duration
	Limit  int
}

// freqCounter is HAProxy's frequency counter (freq_ctr.c): the requests since a tick and in the period before it. The
// tick lies between tickFrom and tickTo.
type freqCounter struct {
	tickFrom, tickTo  time.Duration
	current, previous int
}

// Admits bounds, after each request, the number of requests that the window has admitted so far. The requests are
// ordered by Earliest. The estimate that decides is current + previous·(rest of the period)/period, rounded down. A
// request that may have come on either side of a tick is followed on both.
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

// advance returns the possible counters after a request.
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
			add(freqCounter{
				tickFrom: max(c.tickFrom, t.Earliest-w.Period), tickTo: c.tickTo, current: c.current + 1,
				previous: c.previous,
			})
		}
		if latest >= w.Period && soonest < 2*w.Period {
			add(freqCounter{
				tickFrom: c.tickFrom + w.Period, tickTo: min(c.tickTo+w.Period, t.Latest), current: 1,
				previous: c.current,
			})
		}
		if latest >= 2*w.Period {
			add(freqCounter{tickFrom: t.Earliest - 2*time.Millisecond, tickTo: t.Latest, current: 1})
		}
	}
	return out
}

// estimate returns the counter's rate, in requests per period, at time t if its tick was at tick.
func (w Window) estimate(c freqCounter, tick, t time.Duration) float64 {
	rest := min(max(0, tick+w.Period-t), w.Period)
	return float64(c.current) + float64(c.previous)*float64(rest)/float64(w.Period)
}
