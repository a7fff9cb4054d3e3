package stats

import "gonum.org/v1/gonum/stat/distuv"

// PoissonUpper is the smallest count that a Poisson variable of the given mean exceeds with a probability of at most alpha.
func PoissonUpper(mean, alpha float64) int {
	if mean <= 0 {
		return 0
	}
	p := distuv.Poisson{Lambda: mean}
	n := int(mean)
	for p.Survival(float64(n)) > alpha {
		n++
	}
	return n
}

// PoissonLower is the largest count below which it falls with a probability of at most alpha.
func PoissonLower(mean, alpha float64) int {
	if mean <= 0 {
		return 0
	}
	p := distuv.Poisson{Lambda: mean}
	n := int(mean) + 1
	for n > 0 && p.CDF(float64(n-1)) > alpha {
		n--
	}
	return n
}
