package stats

import "math"

// priorStrength is the strength of the belief in the shares from which the evidence against them is counted: of 10, 100 and 1,000 the one
// that costs the fewest draws for most deviations that are worth finding.
const priorStrength = 100

// SequentialTest tests, draw by draw, whether independent draws have given shares. It may be asked after every draw, and stopped as soon as
// it knows: its error rates hold at all times at once. The zero value is not usable; NewDraws is.
type SequentialTest struct {
	shares         []float64
	counts         []int
	n              int
	logEvidence    float64      // logarithm of the evidence against the shares
	maxLogEvidence float64      // the highest that it has been
	logRatios      [][2]float64 // per server: logarithms of the evidence against a share that is lower, and higher
	hitRatios      [][2]float64 // what a draw of the server adds to them
	missRatios     [][2]float64 // what a draw of another one adds
	maxLogRatio    float64      // the highest that the lowest of apart has been
}

// NewSequentialTest is a test of shares that are above 0 and sum to 1. within is the relative deviation that it is to exclude, below 1.
func NewSequentialTest(shares []float64, within float64) *SequentialTest {
	d := &SequentialTest{shares: shares, counts: make([]int, len(shares)), logRatios: make([][2]float64, len(shares))}
	for _, p := range shares {
		low, high := p*(1-within), min(p*(1+within), (1+p)/2)
		d.hitRatios = append(d.hitRatios, [2]float64{math.Log(p / low), math.Log(p / high)})
		d.missRatios = append(d.missRatios, [2]float64{math.Log((1 - p) / (1 - low)), math.Log((1 - p) / (1 - high))})
	}
	return d
}

// Add counts a draw of server i.
//
// Evidence against the shares is the ratio of a Dirichlet-multinomial mixture around them to themselves, a martingale under them,
// which ever exceeds 1/α with a probability of at most α (Ville 1939; Lindon and Malek 2022, arXiv:2011.03567).
// Evidence for them is that for each server, in both directions, the likelihood ratio against the share that is off by as much as is
// to be excluded exceeds 1/β: an intersection of Wald's sequential tests, which needs no correction for their number (Berger 1982).
func (d *SequentialTest) Add(i int) {
	d.logEvidence += math.Log((priorStrength*d.shares[i] + float64(d.counts[i])) / (priorStrength + float64(d.n)) / d.shares[i])
	d.maxLogEvidence = max(d.maxLogEvidence, d.logEvidence)
	d.counts[i]++
	d.n++
	lowest := math.Inf(1)
	for j := range d.shares {
		add := d.missRatios[j]
		if j == i {
			add = d.hitRatios[j]
		}
		d.logRatios[j][0] += add[0]
		d.logRatios[j][1] += add[1]
		lowest = min(lowest, d.logRatios[j][0], d.logRatios[j][1])
	}
	d.maxLogRatio = max(d.maxLogRatio, lowest)
}

// P is a p-value against the shares that holds whenever the draws are stopped.
func (d *SequentialTest) P() float64 { return math.Exp(-d.maxLogEvidence) }

// Accepts says whether every share has been shown to be as near as within, with an error of at most beta.
func (d *SequentialTest) Accepts(beta float64) bool { return d.maxLogRatio >= -math.Log(beta) }

// IsConclusive says whether further draws can change nothing at these error rates.
func (d *SequentialTest) IsConclusive(alpha, beta float64) bool {
	return d.P() < alpha || d.Accepts(beta)
}

// DrawsToAccept is how many draws show on average, at least, that shares are within a relative deviation, with an error of at most
// beta: the hardest of the tests' information bounds (Wald 1945). Measured means are 1.3 to 1.4 times as many.
func DrawsToAccept(shares []float64, within, beta float64) int {
	least := math.Inf(1)
	for _, p := range shares {
		for _, q := range []float64{p * (1 - within), min(p*(1+within), (1+p)/2)} {
			least = min(least, p*math.Log(p/q)+(1-p)*math.Log((1-p)/(1-q)))
		}
	}
	return int(math.Ceil(-math.Log(beta) / least))
}

// TwoChoiceShares are the shares where two different servers are drawn, by weight, and the second is taken unless the first is better,
// which it never is while nobody is busy (nginx: random two): server j's is Σᵢ≠ⱼ pᵢ·pⱼ/(1−pᵢ).
func TwoChoiceShares(weights []int) []float64 {
	p := Shares(weights)
	out := make([]float64, len(p))
	for i := range p {
		for j := range p {
			if i != j {
				out[j] += p[i] * p[j] / (1 - p[i])
			}
		}
	}
	return out
}
