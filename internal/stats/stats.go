// Package stats holds tests, envelopes and sample sizes over plain numbers. It knows nothing of load balancers beyond
// the arithmetic of their algorithms, does no I/O, and is the only user of gonum. Every formula names its source, and
// tests check every function against a second method.
package stats

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Holm returns the p-values of a family adjusted for its size, in the order of p: rejecting those at most alpha keeps
// the probability of any false rejection at most alpha (Holm 1979). NaN is not part of the family.
func Holm(p []float64) []float64 {
	order := make([]int, 0, len(p))
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	adjusted := slices.Clone(p)
	floor := 0.0
	for rank, i := range order {
		floor = max(floor, min(1, float64(len(order)-rank)*p[i]))
		adjusted[i] = floor
	}
	return adjusted
}

// DetectableShare returns the smallest share that n independent observations show at least once with the given power; 1
// for n = 0.
func DetectableShare(n int, power float64) float64 {
	if n <= 0 {
		return 1
	}
	return -math.Expm1(math.Log1p(-power) / float64(n))
}

// SamplesToDetect returns the number of independent observations that show a given share at least once with the given
// power: the inverse of DetectableShare.
func SamplesToDetect(share, power float64) int {
	return int(math.Ceil(math.Log1p(-power) / math.Log1p(-share)))
}

// BinomialTails returns the probabilities of at least k, and of at most k, successes in n independent trials of
// probability p.
func BinomialTails(n, k int, p float64) (most, least float64) {
	d := distuv.Binomial{N: float64(n), P: p}
	return 1 - d.CDF(float64(k)-1), d.CDF(float64(k))
}
