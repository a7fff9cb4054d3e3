package stats

import (
	"gonum.org/v1/gonum/stat/distuv"
)

// longestReplay bounds the picks replayed for an exact envelope; longer periods use the proven bound.
const longestReplay = 1 << 20

// Envelope bounds, per server, how far its count may be from its share of all picks.
type Envelope struct{ Low, High []float64 }

// Times is the envelope of the sum over m independent states, each of which starts afresh.
func (e Envelope) Times(m int) Envelope {
	out := Envelope{Low: make([]float64, len(e.Low)), High: make([]float64, len(e.High))}
	for i := range e.Low {
		out.Low[i], out.High[i] = float64(m)*e.Low[i], float64(m)*e.High[i]
	}
	return out
}

// Widen adds slack on both sides: picks that may or may not have been counted.
func (e Envelope) Widen(slack float64) Envelope {
	out := Envelope{Low: make([]float64, len(e.Low)), High: make([]float64, len(e.High))}
	for i := range e.Low {
		out.Low[i], out.High[i] = e.Low[i]-slack, e.High[i]+slack
	}
	return out
}

// Outside gives, per server, by how much count exceeds the envelope around its share of the total: 0 is inside.
func (e Envelope) Outside(counts []int, shares []float64) []float64 {
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

// Shares are the weights divided by their sum. A sum of 0 gives zeros.
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

// SmoothRoundRobin is a generator of nginx's smooth weighted round robin: each call is the index of the next pick.
// Each pick adds its weight to every server's current weight, takes the largest (the first among equals) and subtracts
// the sum of all weights from it (nginx ngx_http_upstream_get_peer).
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
// picks. The state is periodic with sum/gcd picks, so one replayed period is exact; where that is too long, the proven
// bound −(H_k − 1) ≤ d ≤ 1 − 1/k with H_k = 1 + 1/2 + … + 1/k is used (k servers; the upper half is immediate, the
// lower is the greedy bound of the chairman assignment problem, Tijdeman 1980).
func SmoothEnvelope(weights []int) Envelope {
	k := len(weights)
	env := Envelope{Low: make([]float64, k), High: make([]float64, k)}
	period := 0
	for _, w := range weights {
		period += w
	}
	if g := gcd(weights); g > 0 {
		period /= g
	}
	if period > longestReplay {
		harmonic := 0.0
		for i := 2; i <= k; i++ {
			harmonic += 1 / float64(i)
		}
		for i := range weights {
			env.Low[i], env.High[i] = -harmonic, 1-1/float64(k)
		}
		return env
	}
	shares, next, counts := Shares(weights), SmoothRoundRobin(weights), make([]int, k)
	for t := 1; t <= period; t++ {
		counts[next()]++
		for i, c := range counts {
			d := float64(c) - float64(t)*shares[i]
			env.Low[i], env.High[i] = min(env.Low[i], d), max(env.High[i], d)
		}
	}
	return env
}

func gcd(values []int) int {
	g := 0
	for _, v := range values {
		for v != 0 {
			g, v = v, g%v
		}
	}
	return g
}

// Nearest is the wrong weights that are hardest to tell from the right ones, among those in which one weight is off by
// a tenth, or by one where a tenth is less. It needs two servers or more.
func Nearest(weights []int) []int {
	var nearest []int
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
				smallest, nearest = d, candidate
			}
		}
	}
	return nearest
}

// distance is the largest difference between two lists of shares.
func distance(p, q []float64) float64 {
	largest := 0.0
	for i := range p {
		largest = max(largest, p[i]-q[i], q[i]-p[i])
	}
	return largest
}

// Power is the probability that n picks drawn independently with the wrong shares leave the envelope around the right
// ones. It is computed for the server whose share differs most, so it is a lower bound; and independent draws are the
// noisiest selector, a balancer that spreads the wrong weights smoothly is caught sooner.
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

// Need is the number of picks from which Power is at least the one asked for.
func (e Envelope) Need(right, wrong []float64, power float64) int {
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

// DeadlineEnvelope bounds counts − picks × shares of earliest deadline first, whose server i comes up every 1/wᵢ of a virtual
// time: after the time u it has had ⌊u·wᵢ⌋ picks, so that the deviation is pᵢ·Σⱼ≠ᵢfⱼ − fᵢ·(1−pᵢ) with fractions f from 0 to 1
// (the method of Jefferson and D'Hondt; Balinski and Young, Fair Representation, 1982).
func DeadlineEnvelope(shares []float64) Envelope {
	e := Envelope{Low: make([]float64, len(shares)), High: make([]float64, len(shares))}
	for i, p := range shares {
		e.Low[i], e.High[i] = p-1, p*float64(len(shares)-1)
	}
	return e
}

// PeriodEnvelope bounds counts − picks × shares where nothing is known but that the weights' sum of picks is divided exactly by
// the weights, each time: within such a period a server has had between none and all of its own.
func PeriodEnvelope(weights []int) Envelope {
	shares := Shares(weights)
	e := Envelope{Low: make([]float64, len(weights)), High: make([]float64, len(weights))}
	for i, p := range shares {
		e.High[i] = float64(weights[i]) * (1 - p)
		e.Low[i] = -e.High[i]
	}
	return e
}
