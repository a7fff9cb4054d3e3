package stats

import (
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// maxReplay limits the picks replayed for an exact envelope; longer periods use the proven bound.
const maxReplay = 1 << 20

// Envelope bounds, per server, the deviation of its count from its share of all picks.
type Envelope struct{ Low, High []float64 }

// Times returns the envelope of the sum over m independent instances, each from its own start.
func (e Envelope) Times(m int) Envelope {
	out := Envelope{Low: make([]float64, len(e.Low)), High: make([]float64, len(e.High))}
	for i := range e.Low {
		out.Low[i], out.High[i] = float64(m)*e.Low[i], float64(m)*e.High[i]
	}
	return out
}

// Widen adds slack on both sides, for picks that may or may not have been counted.
func (e Envelope) Widen(slack float64) Envelope {
	out := Envelope{Low: make([]float64, len(e.Low)), High: make([]float64, len(e.High))}
	for i := range e.Low {
		out.Low[i], out.High[i] = e.Low[i]-slack, e.High[i]+slack
	}
	return out
}

// Excess returns, per server, by how much its count exceeds the envelope around its share of the total; 0 is inside.
func (e Envelope) Excess(counts []int, shares []float64) []float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	const rounding = 1e-6 // of the float sums, not of the law
	out := make([]float64, len(counts))
	for i, c := range counts {
		d := float64(c) - float64(total)*shares[i]
		switch {
		case d < e.Low[i]-rounding:
			out[i] = d - e.Low[i]
		case d > e.High[i]+rounding:
			out[i] = d - e.High[i]
		}
	}
	return out
}

// Shares returns the weights divided by their sum, or zeros if the sum is 0.
func Shares(weights []int) []float64 {
	total := 0
	for _, w := range weights {
		total += w
	}
	shares := make([]float64, len(weights))
	for i, w := range weights {
		if total > 0 {
			shares[i] = float64(w) / float64(total)
		}
	}
	return shares
}

// SmoothRoundRobin returns a generator of nginx's smooth weighted round robin: each call returns the index of the next
// pick. Each pick adds its weight to every server's current weight, takes the largest (the first among equals) and
// subtracts the sum of all weights from it (nginx ngx_http_upstream_get_peer).
func SmoothRoundRobin(weights []int) func() int {
	current := make([]int, len(weights))
	total := 0
	for _, w := range weights {
		total += w
	}
	return func() int {
		best := 0
		for i, w := range weights {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		return best
	}
}

// SmoothEnvelope bounds counts − picks × shares of smooth weighted round robin from a cold start, at every number of
// picks. The state is periodic with sum/gcd picks, so one replayed period is exact; if that is too long, the proven
// bound −(H_k − 1) ≤ d ≤ 1 − 1/k with H_k = 1 + 1/2 + … + 1/k is used (k servers; the upper half is immediate, the
// lower is the greedy bound of the chairman assignment problem, Tijdeman 1980).
func SmoothEnvelope(weights []int) Envelope {
	k := len(weights)
	env := Envelope{Low: make([]float64, k), High: make([]float64, k)}
	period := 0
	for _, w := range weights {
		period += w
	}
	if g := GCD(weights...); g > 0 {
		period /= g
	}
	if period > maxReplay {
		harmonic := 0.0
		for i := 2; i <= k; i++ {
			harmonic += 1 / float64(i)
		}
		for i := range weights {
			env.Low[i], env.High[i] = -harmonic, 1-1/float64(k)
		}
		return env
	}
	return replayEnvelope(SmoothRoundRobin(weights), Shares(weights), period)
}

// replayEnvelope bounds counts − picks × shares over the first picks of a generator.
func replayEnvelope(pick func() int, shares []float64, picks int) Envelope {
	k := len(shares)
	env, counts := Envelope{Low: make([]float64, k), High: make([]float64, k)}, make([]int, k)
	for t := 1; t <= picks; t++ {
		counts[pick()]++
		for i, c := range counts {
			d := float64(c) - float64(t)*shares[i]
			env.Low[i], env.High[i] = min(env.Low[i], d), max(env.High[i], d)
		}
	}
	return env
}

// AnyStart returns the envelope of picks between any two moments: the distance between the lowest and the highest
// deviation.
func (e Envelope) AnyStart() Envelope {
	out := Envelope{Low: make([]float64, len(e.Low)), High: make([]float64, len(e.Low))}
	for i := range e.Low {
		out.Low[i], out.High[i] = e.Low[i]-e.High[i], e.High[i]-e.Low[i]
	}
	return out
}

// GCD returns the greatest common divisor; 0 for no values.
func GCD(values ...int) int {
	g := 0
	for _, v := range values {
		for v != 0 {
			g, v = v, g%v
		}
	}
	return g
}

// NearestWrong returns the wrong weights that are hardest to distinguish from the right ones, among those with one
// weight off by a tenth, or by one if a tenth is less. It needs at least two servers.
func NearestWrong(weights []int) []int {
	var closest []int
	smallest := 2.0
	shares := Shares(weights)
	for i, w := range weights {
		step := max(1, w/10)
		for _, wrong := range []int{w - step, w + step} {
			if wrong < 1 {
				continue
			}
			candidate := append([]int(nil), weights...)
			candidate[i] = wrong
			if d := distance(shares, Shares(candidate)); d > 0 && d < smallest {
				smallest, closest = d, candidate
			}
		}
	}
	return closest
}

// distance returns the largest difference between two lists of shares.
func distance(p, q []float64) float64 {
	largest := 0.0
	for i := range p {
		largest = max(largest, p[i]-q[i], q[i]-p[i])
	}
	return largest
}

// Power returns the probability that n picks drawn independently with the wrong shares leave the envelope around the
// right ones. It considers only the server whose share differs most, so it is a lower bound; and independent draws are
// the noisiest selector: a balancer that spreads the wrong weights smoothly is detected sooner.
func (e Envelope) Power(n int, right, wrong []float64) float64 {
	worst := 0
	for i := range right {
		if abs(right[i]-wrong[i]) > abs(right[worst]-wrong[worst]) {
			worst = i
		}
	}
	draws := distuv.Binomial{N: float64(n), P: wrong[worst]}
	centre := float64(n) * right[worst]
	low, high := centre+e.Low[worst], centre+e.High[worst]
	inside := draws.CDF(high)
	if low > 0 {
		inside -= draws.CDF(low - 1e-9)
	}
	return min(1, max(0, 1-inside))
}

// SampleSize returns the number of picks that gives at least the power.
func (e Envelope) SampleSize(right, wrong []float64, power float64) int {
	high := 1
	for e.Power(high, right, wrong) < power {
		if high *= 2; high > 1<<40 {
			return high
		}
	}
	low := high / 2
	for low+1 < high {
		if mid := (low + high) / 2; e.Power(mid, right, wrong) >= power {
			high = mid
		} else {
			low = mid
		}
	}
	return high
}

func abs(x float64) float64 { return max(x, -x) }

// DeadlineEnvelope bounds counts − picks × shares of earliest deadline first, which picks server i every 1/wᵢ of a
// virtual time: by time u it has had ⌊u·wᵢ⌋ picks, so that the deviation is pᵢ·Σⱼ≠ᵢfⱼ − fᵢ·(1−pᵢ) with fractions f from
// 0 to 1 (the method of Jefferson and D'Hondt; Balinski and Young, Fair Representation, 1982).
func DeadlineEnvelope(shares []float64) Envelope {
	e := Envelope{Low: make([]float64, len(shares)), High: make([]float64, len(shares))}
	for i, p := range shares {
		e.Low[i], e.High[i] = p-1, p*float64(len(shares)-1)
	}
	return e
}

// fwrrServer is a server of HAProxy's roundrobin: its next position and the remainder of the division.
type fwrrServer struct{ index, weight, nextPos, remainder int }

// fwrr is the state of HAProxy's roundrobin.
type fwrr struct {
	total, pos                int
	initial, queue, nextRound []*fwrrServer
	rounds                    int // completed
}

func newFWRR(weights []int) *fwrr {
	f := &fwrr{}
	for i, w := range weights {
		if w > 0 {
			f.initial = append(f.initial, &fwrrServer{index: i, weight: weightScale * w})
			f.total += weightScale * w
		}
	}
	slices.SortStableFunc(f.initial, compareWeight)
	f.pos = f.total
	return f
}

func compareWeight(a, b *fwrrServer) int { return b.weight - a.weight }

// sortKey orders the queue: by next position, then by remainder.
func (s *fwrrServer) sortKey() int {
	return 256*s.nextPos + (256*weightScale+s.remainder-s.weight)/weightScale
}

// next returns the next pick (fwrr_get_next_server and its callees).
func (f *fwrr) next() int {
	if len(f.initial)+len(f.queue) == 0 {
		f.initial, f.nextRound, f.pos = f.nextRound, nil, f.total
		slices.SortStableFunc(f.initial, compareWeight)
		f.rounds++
	}
	var s *fwrrServer
	if len(f.queue) > 0 && (f.queue[0].nextPos <= f.pos || len(f.initial) == 0) {
		s, f.queue = f.queue[0], f.queue[1:]
	} else {
		s, f.initial = f.initial[0], f.initial[1:]
		s.nextPos, s.remainder = f.pos, 0
	}
	s.nextPos += f.total / s.weight
	if s.remainder += f.total % s.weight; s.remainder >= s.weight {
		s.remainder -= s.weight
		s.nextPos++
	}
	f.pos++
	if s.nextPos >= 2*f.total {
		f.nextRound = append(f.nextRound, s)
		return s.index
	}
	at, _ := slices.BinarySearchFunc(f.queue, s.sortKey()+1, func(o *fwrrServer, p int) int { return o.sortKey() - p })
	f.queue = slices.Insert(f.queue, at, s)
	return s.index
}

// FastRoundRobin returns a generator of HAProxy's roundrobin, its "fast weighted round robin" (lb_fwrr.c): one queue
// holds servers by their next position, another by weight those without a pick in this round, a third those whose
// position lies in the next round.
func FastRoundRobin(weights []int) func() int { return newFWRR(weights).next }

// FastShares returns the shares of HAProxy's roundrobin, which differ slightly from the weights: at the end of a round
// the remainders of its divisions are lost (7:11:13 gives 22.4 %, 35.6 % and 42.0 %, measured and replayed). The
// envelope bounds counts − picks × shares.
func FastShares(weights []int) ([]float64, Envelope) {
	const rounds = 16
	f, counts, picks := newFWRR(weights), make([]int, len(weights)), 0
	for f.rounds < rounds && picks < maxReplay {
		if i := f.next(); f.rounds < rounds {
			counts[i]++
			picks++
		}
	}
	shares := make([]float64, len(weights))
	for i, n := range counts {
		shares[i] = float64(n) / float64(picks)
	}
	return shares, replayEnvelope(FastRoundRobin(weights), shares, picks)
}

// FastCounts returns the counts of the first picks of HAProxy's roundrobin.
func FastCounts(weights []int, picks int) []int {
	pick, counts := FastRoundRobin(weights), make([]int, len(weights))
	for range picks {
		counts[pick()]++
	}
	return counts
}

// StaticRoundRobin returns a generator of HAProxy's static-rr, which cycles through the table of TableMap (lb_map.c).
func StaticRoundRobin(weights []int) func() int {
	table, at := buildTable(weights, func(int) bool { return true }), -1
	return func() int {
		at++
		return table[at%len(table)]
	}
}

// StaticEnvelope bounds counts − picks × shares of HAProxy's static-rr, whose table is one period.
func StaticEnvelope(weights []int) Envelope {
	total := 0
	for _, w := range weights {
		total += w
	}
	return replayEnvelope(StaticRoundRobin(weights), Shares(weights), total)
}

// PeriodEnvelope bounds counts − picks × shares of any algorithm that is exact after each period of as many picks as
// the sum of the weights: within a period a server has had between none and all of its picks.
func PeriodEnvelope(weights []int) Envelope {
	shares := Shares(weights)
	e := Envelope{Low: make([]float64, len(weights)), High: make([]float64, len(weights))}
	for i, p := range shares {
		e.High[i] = float64(weights[i]) * (1 - p)
		e.Low[i] = -e.High[i]
	}
	return e
}
