package stats

import "gonum.org/v1/gonum/stat/distuv"

// PoissonUpper returns the smallest count that a Poisson variable with the given mean exceeds with probability at most
// alpha.
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

// PoissonLower returns the largest count below which a Poisson variable with the given mean falls with probability at
// most alpha.
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
