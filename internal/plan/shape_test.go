package plan_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/plan"
)

// Due times of every shape match the numerical integral of its rate.
func TestDuesFollowTheRate(t *testing.T) {
	f := func(l plan.Phase, rate func(t float64) float64) {
		t.Helper()
		next, sum, at := l.DueTimes(), 0.0, 0.0
		const dt = 1e-5
		for i := range l.Count {
			due := next().Seconds()
			for at < due {
				sum += rate(at+dt/2) * dt
				at += dt
			}
			assert.InDelta(t, float64(i), sum, 0.1, "request %d at %.4f s", i, due)
		}
	}
	f(plan.Phase{Count: 500, Rate: 250}, func(float64) float64 { return 250 })
	ramp := plan.Phase{Count: 1100, Rate: 550, Shape: plan.Shape{Kind: plan.Ramp, From: 100, To: 1000}}
	f(ramp, func(t float64) float64 { return 100 + 900*t/2 })
	f(plan.Phase{Count: 100, Rate: 50, Shape: plan.Shape{Kind: plan.Ramp, From: 50, To: 50}}, func(float64) float64 { return 50 })
	f(plan.Phase{Count: 100, Rate: 50, Shape: plan.Shape{Kind: plan.Ramp, From: 0, To: 100}}, func(t float64) float64 { return 100 * t / 2 })
	f(plan.Phase{Count: 900, Rate: 300, Shape: plan.Shape{Kind: plan.Steps, Steps: []plan.Step{{Rate: 100, Duration: time.Second}, {Rate: 700, Duration: time.Second}, {Rate: 100, Duration: time.Second}}}},
		func(t float64) float64 { return []float64{100, 700, 100}[min(2, int(t))] })
	f(plan.Phase{Count: 1000, Rate: 500, Shape: plan.Shape{Kind: plan.Sine, From: 10, To: 990, Period: time.Second}},
		func(t float64) float64 { return 500 + 490*math.Sin(2*math.Pi*t) })
}

func TestBurstsAndReplay(t *testing.T) {
	f := func(l plan.Phase, want ...time.Duration) {
		t.Helper()
		next := l.DueTimes()
		for _, w := range want {
			assert.Equal(t, w, next())
		}
	}
	f(plan.Phase{Rate: 2, Shape: plan.Shape{Kind: plan.Bursts, BurstSize: 2, Period: time.Second}}, 0, 0, time.Second, time.Second, 2*time.Second)
	f(plan.Phase{Rate: 2, Shape: plan.Shape{Kind: plan.Replay, Times: []time.Duration{0, 3, 3, 9}}}, 0, 3, 3, 9)
}

// Poisson arrivals have the right mean and variance, and depend only on the seed.
func TestPoissonArrivals(t *testing.T) {
	l := plan.Phase{Rate: 100, Seed: 7, Shape: plan.Shape{Kind: plan.Poisson}}
	a, b := l.DueTimes(), l.DueTimes()
	var sum, squares, last float64
	const n = 20000
	for range n {
		at := a()
		assert.Equal(t, at, b())
		gap := at.Seconds() - last
		last = at.Seconds()
		sum, squares = sum+gap, squares+gap*gap
	}
	mean := sum / n
	assert.InDelta(t, 0.01, mean, 0.0003)
	assert.InDelta(t, mean, math.Sqrt(squares/n-mean*mean), 0.0005, "the standard deviation is the mean")
}

func TestKeys(t *testing.T) {
	values := []string{"a", "b", "c"}
	l := plan.Phase{Keys: plan.Keys{Header: "X-User", Values: values}}
	assert.Equal(t, []string{"a", "b", "c", "a"}, []string{l.Key(0), l.Key(1), l.Key(2), l.Key(3)})
	assert.Empty(t, plan.Phase{}.Key(3))
	l.Keys.Zipf, l.Seed = 2, 5
	counts := map[string]float64{}
	const n = 30000
	for i := range n {
		assert.Equal(t, l.Key(i), l.Key(i))
		counts[l.Key(i)]++
	}
	total := 1 + 1/4. + 1/9.
	for k, v := range values {
		assert.InDelta(t, math.Pow(float64(k+1), -2)/total, counts[v]/n, 0.01)
	}
}
