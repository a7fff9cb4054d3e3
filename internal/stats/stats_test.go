package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHolm(t *testing.T) {
	f := func(p, want []float64) {
		t.Helper()
		assert.InDeltaSlice(t, want, Holm(p), 1e-12)
	}
	f(nil, nil)
	f([]float64{0.2}, []float64{0.2})
	f([]float64{0.01, 0.04, 0.03}, []float64{0.03, 0.06, 0.06})
	f([]float64{0.9, 0.8}, []float64{1, 1})
}

func TestHolmIgnoresNaN(t *testing.T) {
	got := Holm([]float64{math.NaN(), 0.02, math.NaN(), 0.5})
	assert.InDelta(t, 0.04, got[1], 1e-12)
	assert.InDelta(t, 0.5, got[3], 1e-12)
	assert.True(t, math.IsNaN(got[0]))
}

// With every hypothesis true, the probability of any rejection is at most alpha, by simulation.
func TestHolmFamilyError(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const runs, alpha = 20_000, 0.05
	wrong := 0
	for range runs {
		p := make([]float64, 7)
		for i := range p {
			p[i] = r.Float64()
		}
		for _, v := range Holm(p) {
			if v <= alpha {
				wrong++
				break
			}
		}
	}
	assert.InDelta(t, alpha, float64(wrong)/runs, 0.006)
}

func TestSamplesToDetect(t *testing.T) {
	// The sample sizes for detecting a leak with power 0.999, computed independently by exact powers.
	f := func(share float64, need int) {
		t.Helper()
		assert.Equal(t, need, SamplesToDetect(share, 0.999))
		assert.GreaterOrEqual(t, 1-math.Pow(1-share, float64(need)), 0.999)
		assert.Less(t, 1-math.Pow(1-share, float64(need-1)), 0.999)
		assert.InDelta(t, 0.999, 1-math.Pow(1-DetectableShare(need, 0.999), float64(need)), 1e-9)
	}
	f(0.02, 342)
	f(0.01, 688)
	f(0.001, 6905)
	assert.InDelta(t, 0.01, DetectableShare(688, 0.999), 1e-4)
	assert.Equal(t, 1.0, DetectableShare(0, 0.999))
}

func TestSmoothRoundRobinSequence(t *testing.T) {
	f := func(weights []int, want string) {
		t.Helper()
		next, got := SmoothRoundRobin(weights), ""
		for range want {
			got += string(rune('a' + next()))
		}
		assert.Equal(t, want, got)
	}
	f([]int{1, 2, 3}, "cbacbccbacbc") // observed on nginx 1.22.1
	f([]int{5, 1, 1}, "aabacaa")      // the example in nginx's source
	f([]int{1}, "aaa")
}

func TestSmoothEnvelope(t *testing.T) {
	f := func(weights []int, low, high float64) {
		t.Helper()
		env := SmoothEnvelope(weights)
		gotLow, gotHigh := 0.0, 0.0
		for i := range weights {
			gotLow, gotHigh = min(gotLow, env.Low[i]), max(gotHigh, env.High[i])
		}
		assert.InDelta(t, low, gotLow, 5e-4)
		assert.InDelta(t, high, gotHigh, 5e-4)
	}
	f([]int{1, 2, 3}, -0.5, 0.5)
	f([]int{5, 1, 1}, -0.571, 0.571)
	f([]int{10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, -0.9, 0.9)
	f([]int{7, 11, 13, 17, 19, 23}, -0.878, 0.744)
	f([]int{3}, 0, 0)
	// Too long to replay: the proven bound, H_2 − 1 and 1 − 1/2.
	f([]int{1_000_003, 1_000_033}, -0.5, 0.5)
}

// For any number of instances, skew among them and stopping time, counts stay inside.
func TestSmoothEnvelopeHoldsForManyInstances(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		weights := make([]int, 2+r.IntN(5))
		for i := range weights {
			weights[i] = 1 + r.IntN(9)
		}
		instances := make([]func() int, 1+r.IntN(8))
		for i := range instances {
			instances[i] = SmoothRoundRobin(weights)
		}
		counts := make([]int, len(weights))
		for range r.IntN(400) {
			counts[instances[min(r.IntN(len(instances)), r.IntN(len(instances)))]()]++
		}
		for i, over := range SmoothEnvelope(weights).Times(len(instances)).Excess(counts, Shares(weights)) {
			assert.Zero(t, over, "weights %v instances %d counts %v server %d", weights, len(instances), counts, i)
		}
	}
}

func TestNearestWrong(t *testing.T) {
	assert.Equal(t, []int{1, 2, 4}, NearestWrong([]int{1, 2, 3}))
	assert.Equal(t, []int{110, 200, 300}, NearestWrong([]int{100, 200, 300}))
	assert.Nil(t, NearestWrong([]int{1}))
}

// Power is checked against simulated draws.
func TestEnvelopePower(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	right, wrong := Shares([]int{1, 2, 3}), Shares([]int{1, 2, 4})
	env := SmoothEnvelope([]int{1, 2, 3}).Times(2)
	for _, n := range []int{30, 100, 300} {
		const runs = 4000
		out := 0
		for range runs {
			hits := 0
			for range n {
				if r.Float64() < wrong[2] {
					hits++
				}
			}
			if d := float64(hits) - float64(n)*right[2]; d < env.Low[2] || d > env.High[2] {
				out++
			}
		}
		assert.InDelta(t, float64(out)/runs, env.Power(n, right, wrong), 0.03, "n = %d", n)
	}
}

func TestEnvelopeSampleSize(t *testing.T) {
	right, wrong := Shares([]int{1, 2, 3}), Shares([]int{1, 2, 4})
	env := SmoothEnvelope([]int{1, 2, 3}).Times(2)
	n := env.SampleSize(right, wrong, 0.999)
	assert.GreaterOrEqual(t, env.Power(n, right, wrong), 0.999)
	assert.Less(t, env.Power(n-1, right, wrong), 0.999)
	// (z·σ/δ)² of the normal approximation, z = 3.09, σ² = 4/7·3/7, δ = 4/7 − 1/2.
	assert.InDelta(t, 459, n, 15)
}

func TestWiden(t *testing.T) {
	env := SmoothEnvelope([]int{1, 1}).Widen(2)
	assert.Equal(t, []float64{0, 0}, env.Excess([]int{12, 8}, Shares([]int{1, 1})))
	assert.Equal(t, []float64{1.5, -1.5}, env.Excess([]int{14, 6}, Shares([]int{1, 1})))
}

func BenchmarkSmoothEnvelope(b *testing.B) {
	weights := []int{100, 200, 300}
	for b.Loop() {
		SmoothEnvelope(weights)
	}
}

// Earliest deadline first never leaves its envelope, however ties are broken, and reaches its edges.
func TestDeadlineEnvelope(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, weights := range [][]int{{1, 2, 3}, {1, 1, 1}, {5, 1, 1}, {10, 1, 1, 1, 1, 1}} {
		env, shares := DeadlineEnvelope(Shares(weights)), Shares(weights)
		counts := make([]int, len(weights))
		for picks := 1; picks <= 600; picks++ {
			best := -1
			for i, w := range weights {
				sooner := best < 0 || (counts[i]+1)*weights[best] < (counts[best]+1)*w
				if same := best >= 0 && (counts[i]+1)*weights[best] == (counts[best]+1)*w; sooner || same && r.IntN(2) == 0 {
					best = i
				}
			}
			counts[best]++
			for i, outside := range env.Excess(counts, shares) {
				assert.Zero(t, outside, "%v: server %d after %d picks: %v", weights, i, picks, counts)
			}
		}
	}
}

// Any order of picks that is exact after each period stays within the envelope of periods.
func TestPeriodEnvelope(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, weights := range [][]int{{1, 2, 3}, {1, 9}, {2, 2}, {7, 11, 13}} {
		env, shares := PeriodEnvelope(weights), Shares(weights)
		var period []int
		for i, w := range weights {
			for range w {
				period = append(period, i)
			}
		}
		counts := make([]int, len(weights))
		for range 200 {
			r.Shuffle(len(period), func(a, b int) { period[a], period[b] = period[b], period[a] })
			for _, i := range period {
				counts[i]++
				for _, outside := range env.Excess(counts, shares) {
					assert.Zero(t, outside)
				}
			}
		}
	}
}
