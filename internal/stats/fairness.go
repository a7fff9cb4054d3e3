package stats

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Fairness measures the distance of counts from shares: V is the squared coefficient of variation of counts per share
// (chi-square over the number of picks), and Jain's weighted index is 1/(1+V), which is 1 for exact shares (Jain, Chiu
// and Hawe 1984).
type Fairness struct {
	Jain, LowJain, HighJain float64
	CV, LowCV, HighCV       float64 // the root of V
}

// FairnessOf returns the fairness of counts under shares above 0, with intervals of the given confidence. They invert
// chi-square, which for independent picks has the non-centrality picks·V, at both ends. Round robin is steadier than
// independent picks: its chi-square is far below every such quantile, and the inversion has no solution. Chi-square is
// therefore taken to be at least its mean for exact shares, which only widens the interval: it is never a point, and
// covers the truth at least as often (coverage is measured in the tests).
func FairnessOf(counts []int, shares []float64, confidence float64) Fairness {
	picks, squares := 0.0, 0.0
	for _, c := range counts {
		picks += float64(c)
	}
	if picks == 0 {
		return Fairness{Jain: 1, HighJain: 1}
	}
	for i, c := range counts {
		d := float64(c) - picks*shares[i]
		squares += d * d / (picks * shares[i])
	}
	dof, tail := float64(len(counts)-1), (1-confidence)/2
	f := Fairness{CV: math.Sqrt(squares / picks), Jain: 1 / (1 + squares/picks)}
	low := noncentrality(squares, dof, 1-tail) / picks
	high := noncentrality(max(squares, dof), dof, tail) / picks
	f.LowCV, f.HighCV = math.Sqrt(low), math.Sqrt(high)
	f.LowJain, f.HighJain = 1/(1+high), 1/(1+low)
	return f
}

// noncentrality returns the parameter for which value is the quantile of the given probability; 0 if no parameter gives
// such a low one.
func noncentrality(value, dof, probability float64) float64 {
	if dof == 0 || noncentralCDF(value, dof, 0) < probability {
		return 0
	}
	low, high := 0.0, value+10
	for noncentralCDF(value, dof, high) > probability {
		high *= 2
	}
	for high-low > 1e-6*high {
		if mid := (low + high) / 2; noncentralCDF(value, dof, mid) > probability {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// noncentralCDF is the cumulative distribution function of chi-square with non-centrality shift, a Poisson mixture of
// central ones (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 2, chapter 29).
func noncentralCDF(value, dof, shift float64) float64 {
	if shift == 0 {
		return distuv.ChiSquared{K: dof}.CDF(value)
	}
	weights := distuv.Poisson{Lambda: shift / 2}
	width := 7*math.Sqrt(shift/2) + 12 // exceeded by a Poisson variable with probability 10⁻¹¹
	sum := 0.0
	for j := math.Floor(max(0, shift/2-width)); j <= shift/2+width; j++ {
		sum += weights.Prob(j) * distuv.ChiSquared{K: dof + 2*j}.CDF(value)
	}
	return sum
}
