package stats

import "math"

// priorStrength weights the prior belief in the shares in the mixture: of 10, 100 and 1,000 it needs the fewest draws
// for most relevant deviations.
const priorStrength = 100

// SequentialTest tests, draw by draw, whether independent draws have given shares. It may be evaluated after every draw
// and stopped once conclusive: its error rates hold at all times simultaneously. Create it with NewSequentialTest.
type SequentialTest struct {
	shares         []float64
	counts         []int
	n              int
	logEvidence    float64      // log evidence against the shares
	maxLogEvidence float64      // its maximum so far
	logRatios      [][2]float64 // per server: log evidence against a lower, and against a higher share
	hitRatios      [][2]float64 // added by a draw of the server
	missRatios     [][2]float64 // added by a draw of another server
	maxLogRatio    float64      // maximum so far of the lowest of logRatios
}

// NewSequentialTest returns a test of shares that are positive and sum to 1. within, below 1, is the relative deviation
// that it must exclude to accept.
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
// Evidence against the shares is the ratio of a Dirichlet-multinomial mixture around them to the shares themselves, a
// martingale under them that ever exceeds 1/α with probability at most α (Ville 1939; Lindon and Malek 2022,
// arXiv:2011.03567). Evidence for them is that for each server, in both directions, the likelihood ratio against the
// share off by the excluded deviation exceeds 1/β: an intersection of Wald's sequential tests, which needs no
// correction for their number (Berger 1982).
func (d *SequentialTest) Add(i int) {
	predicted := (priorStrength*d.shares[i] + float64(d.counts[i])) / (priorStrength + float64(d.n))
	d.logEvidence += math.Log(predicted / d.shares[i])
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

// P returns a p-value against the shares that is valid at any stopping time.
func (d *SequentialTest) P() float64 { return math.Exp(-d.maxLogEvidence) }

// Accepts reports whether every share was shown to lie within the deviation, with error at most beta.
func (d *SequentialTest) Accepts(beta float64) bool { return d.maxLogRatio >= -math.Log(beta) }

// IsConclusive reports whether the test refutes or accepts, so that further draws change nothing.
func (d *SequentialTest) IsConclusive(alpha, beta float64) bool {
	return d.P() < alpha || d.Accepts(beta)
}

// DrawsToAccept returns a lower bound on the mean number of draws until the test accepts: the largest of the tests'
// information bounds (Wald 1945). Measured means are 1.3 to 1.4 times as high.
func DrawsToAccept(shares []float64, within, beta float64) int {
	least := math.Inf(1)
	for _, p := range shares {
		for _, q := range []float64{p * (1 - within), min(p*(1+within), (1+p)/2)} {
			least = min(least, p*math.Log(p/q)+(1-p)*math.Log((1-p)/(1-q)))
		}
	}
	return int(math.Ceil(-math.Log(beta) / least))
}

// TwoChoiceShares returns the shares if two different servers are drawn by weight and the second one is used unless the
// first has less load, which never happens at idle (nginx: random two): server j's share is Σᵢ≠ⱼ pᵢ·pⱼ/(1−pᵢ).
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
