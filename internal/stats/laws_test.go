package stats_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/stats"
)

// draw returns an index drawn with the probabilities q.
func draw(r *rand.Rand, q []float64) int {
	u := r.Float64()
	for i, p := range q {
		if u -= p; u < 0 {
			return i
		}
	}
	return len(q) - 1
}

// The evidence against shares follows its formula: the ratio of the mixture's probability of all counts to theirs.
func TestEvidenceAgainstTheClosedForm(t *testing.T) {
	shares := []float64{1. / 6, 2. / 6, 3. / 6}
	r := rand.New(rand.NewPCG(1, 1))
	d, counts, most := stats.NewSequentialTest(shares, 0.2), make([]int, 3), 0.0
	logBeta := func(a []float64) float64 {
		sum, total := 0.0, 0.0
		for _, v := range a {
			g, _ := math.Lgamma(v)
			sum, total = sum+g, total+v
		}
		g, _ := math.Lgamma(total)
		return sum - g
	}
	for range 300 {
		i := draw(r, []float64{0.2, 0.4, 0.4})
		d.Add(i)
		counts[i]++
		prior, posterior, own := make([]float64, 3), make([]float64, 3), 0.0
		for j, p := range shares {
			prior[j] = 100 * p
			posterior[j] = prior[j] + float64(counts[j])
			own += float64(counts[j]) * math.Log(p)
		}
		most = max(most, logBeta(posterior)-logBeta(prior)-own)
		assert.InDelta(t, most, -math.Log(d.P()), 1e-9)
	}
}

// Shares are accepted by the likelihood ratios of all counts, regardless of order.
func TestAcceptanceAgainstTheClosedForm(t *testing.T) {
	shares := []float64{0.7, 0.3}
	d := stats.NewSequentialTest(shares, 0.1)
	for n := range 20_000 {
		d.Add(map[bool]int{true: 0, false: 1}[n%10 < 7])
		a, b := float64(7*((n+1)/10)+min(7, (n+1)%10)), 0.0
		b = float64(n+1) - a
		least := math.Inf(1)
		for _, q := range []float64{0.63, 0.77, 1 - 0.27, 1 - 0.33} {
			least = min(least, a*math.Log(0.7/q)+b*math.Log(0.3/(1-q)))
		}
		if d.Accepts(0.001) {
			assert.GreaterOrEqual(t, least, math.Log(1000)-0.7)
			assert.Greater(t, n, stats.DrawsToAccept(shares, 0.1, 0.001)*9/10)
			return
		}
		assert.Less(t, least, math.Log(1000)+1e-9)
	}
	t.Fatal("never upheld")
}

// A correct bucket with exact times stays within the bounds from inexact ones; nginx counts in thousandths and
// milliseconds.
func TestBucketHoldsEveryHonestCount(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	widest := 0
	for range 300 {
		perMilli, burst := []int{10_000, 1_666, 100_000}[r.IntN(3)], r.IntN(20)
		blur := time.Duration(r.IntN(10)+1) * time.Millisecond
		var at []stats.TimeBounds
		var real []time.Duration
		gap := func() time.Duration { return time.Duration(r.ExpFloat64() * float64(10*time.Millisecond)) }
		for now := time.Duration(0); now < 3*time.Second; now += gap() {
			real = append(real, now)
			at = append(at, stats.TimeBounds{
				Earliest: now - time.Millisecond - time.Duration(r.Float64()*float64(blur)),
				Latest:   now + time.Duration(r.Float64()*float64(blur)),
			})
		}
		admitted := limitReq(real, perMilli, burst)
		order := make([]int, len(at))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return int(at[a].Earliest - at[b].Earliest) })
		sorted, count := make([]stats.TimeBounds, len(at)), 0
		for k, i := range order {
			sorted[k] = at[i]
		}
		least, most := stats.Bucket{Capacity: float64(burst + 1), Rate: float64(perMilli) / 1000}.Admits(sorted)
		for k, i := range order {
			if admitted[i] {
				count++
			}
			assert.LessOrEqual(t, count, most[k])
			if k+1 == len(order) {
				assert.GreaterOrEqual(t, count, least[k])
				widest = max(widest, most[k]-least[k])
			}
		}
	}
	assert.Positive(t, widest)
}

// limitReq is nginx's own arithmetic (ngx_http_limit_req_module.c): excess in thousandths of a request, time in
// milliseconds.
func limitReq(at []time.Duration, rate, burst int) []bool {
	out, excess, last := make([]bool, len(at)), 0, int64(-1)
	for i, t := range at {
		now := t.Milliseconds()
		e := 0
		if last >= 0 {
			e = max(0, excess-rate*int(now-last)/1000+1000)
		}
		if out[i] = e <= 1000*burst; out[i] {
			excess, last = e, now
		}
	}
	return out
}

// Exact times give exact counts, and delays that grow with the excess.
func TestBucketOfExactTimes(t *testing.T) {
	var at []stats.TimeBounds
	for i := range 30 {
		now := time.Duration(i) * 10 * time.Millisecond
		at = append(at, stats.TimeBounds{Earliest: now, Latest: now})
	}
	least, most := stats.Bucket{Capacity: 3, Rate: 10}.Admits(at)
	assert.Equal(t, most, least)
	assert.Equal(t, 5, most[29], "3 at once, and 10 a second for 0.29 s")
	waits := stats.Bucket{Capacity: 3, Rate: 10}.MinWaits(at[:3], 0)
	assert.Equal(t, []time.Duration{0, 90 * time.Millisecond, 180 * time.Millisecond}, waits)
	assert.Equal(t, []time.Duration{0, 0, 80 * time.Millisecond}, stats.Bucket{Capacity: 3, Rate: 10}.MinWaits(at[:3], 1))
}

// A correct frequency counter with exact times stays within the bounds from inexact ones.
func TestWindowHoldsEveryHonestCount(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	unknown, all := 0, 0
	for range 500 {
		w := stats.Window{Period: 2 * time.Second, Limit: 20}
		mean := []time.Duration{50, 95, 100, 110, 400}[r.IntN(5)] * time.Millisecond
		var at []stats.TimeBounds
		var real []time.Duration
		for now := time.Second; now < 20*time.Second; now += time.Duration(r.ExpFloat64() * float64(mean)) {
			real = append(real, now)
			blur := time.Duration(r.Float64() * float64(5*time.Millisecond))
			at = append(at, stats.TimeBounds{Earliest: now - blur - time.Millisecond, Latest: now + blur + 5*time.Millisecond})
		}
		slices.SortStableFunc(at, func(a, b stats.TimeBounds) int { return int(a.Earliest - b.Earliest) })
		least, most := w.Admits(at)
		admitted := 0
		for _, ok := range requestRate(real, w) {
			if ok {
				admitted++
			}
		}
		last := len(at) - 1
		assert.LessOrEqual(t, admitted, most[last])
		assert.GreaterOrEqual(t, admitted, least[last])
		unknown, all = unknown+most[last]-least[last], all+len(at)
	}
	assert.Less(t, unknown, all/20, "most bounds are tight")
}

// requestRate is HAProxy's own arithmetic (freq_ctr.h): update_freq_ctr_period, then read_freq_ctr_period.
func requestRate(at []time.Duration, w stats.Window) []bool {
	period := w.Period.Milliseconds()
	var tick, now, before int64
	out := make([]bool, len(at))
	for i, t := range at {
		ms := t.Milliseconds()
		switch since := ms - tick; {
		case i == 0:
			tick, now = ms&^1, 1
		case since < period:
			now++
		default:
			before, now, tick = now, 1, tick+period
			if ms-tick >= period {
				before, tick = 0, ms
			}
			tick &^= 1
		}
		rest := max(0, tick+period-ms)
		out[i] = (before*rest+now*period)/period <= int64(w.Limit)
	}
	return out
}

// A client at the limit's own rate or faster is admitted up to the limit once, and then never again.
func TestWindowLocksOut(t *testing.T) {
	f := func(perPeriod, want int) {
		t.Helper()
		w := stats.Window{Period: 10 * time.Second, Limit: 20}
		var at []stats.TimeBounds
		for now := time.Duration(0); now < time.Minute; now += w.Period / time.Duration(perPeriod) {
			at = append(at, stats.TimeBounds{Earliest: now, Latest: now})
		}
		least, most := w.Admits(at)
		assert.Equal(t, want, most[len(at)-1])
		assert.InDelta(t, want, least[len(at)-1], 1)
	}
	f(16, 96)
	f(30, 20)
	f(100, 20)
}

// The parts of HAProxy's ring, measured on 2.6.12 with 12,000 draws: 2,502, 3,797 and 5,701 for 1:2:3.
func TestRing(t *testing.T) {
	near := func(want []float64, weights []int) {
		t.Helper()
		got := stats.RingShares(weights)
		assert.InDeltaSlice(t, want, got, 0.0001)
		up, counts := make([]bool, len(weights)), make([]float64, len(weights))
		for i := range up {
			up[i] = true
		}
		r, i := rand.New(rand.NewPCG(4, 4)), 0
		m := stats.RingMap(weights, up, func([]byte) uint32 { return r.Uint32() })
		for i = range 100_000 {
			counts[m(nil)]++
		}
		for k := range counts {
			assert.InDelta(t, got[k], counts[k]/float64(i+1), 0.01)
		}
	}
	near([]float64{0.3509, 0.2951, 0.3540}, []int{1, 1, 1})
	near([]float64{0.2146, 0.3213, 0.4641}, []int{1, 2, 3})
	near([]float64{0.8852, 0.1148}, []int{9, 1})
}

// Measured on nginx: the distribution of 256 networks behind each of two prefixes over servers of 1:2:3. All addresses
// of a network go to the same server.
func TestAddressMap(t *testing.T) {
	m := stats.AddressMap([]int{1, 2, 3}, []bool{true, true, true})
	count := func(a, b byte) []int {
		out := make([]int, 3)
		for c := range 256 {
			out[m([]byte{a, b, byte(c), 7})]++
		}
		return out
	}
	assert.Equal(t, []int{42, 85, 129}, count(127, 0))
	assert.Equal(t, []int{43, 85, 128}, count(172, 17))
	assert.Equal(t, m([]byte{127, 0, 0, 1}), m([]byte{127, 0, 0, 99}))
}

// Removing a server moves only its own keys in consistent maps, and many others in the rest.
func TestMapsWhenAServerGoes(t *testing.T) {
	moved := func(m func(up []bool) stats.Map) (own, others int) {
		before, after := m([]bool{true, true, true}), m([]bool{true, false, true})
		for i := range 3000 {
			key := []byte("/a/" + string(rune('a'+i%26)) + string(rune(0x100+i)))
			was, is := before(key), after(key)
			assert.NotEqual(t, 1, is)
			switch {
			case was == 1:
				own++
			case is != was:
				others++
			}
		}
		return own, others
	}
	weights := []int{1, 1, 1}
	own, others := moved(func(up []bool) stats.Map {
		return stats.KetamaMap([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, []string{"80", "80", "80"}, weights, up)
	})
	assert.InDelta(t, 1000, own, 200)
	assert.Zero(t, others)
	own, others = moved(func(up []bool) stats.Map { return stats.RingMap(weights, up, stats.SDBMHash) })
	assert.InDelta(t, 900, own, 250)
	assert.Zero(t, others)
	_, others = moved(func(up []bool) stats.Map { return stats.ModuloMap(weights, up) })
	assert.Zero(t, others, "nginx keeps the place of a server that is only down")
	_, others = moved(func(up []bool) stats.Map { return stats.TableMap(weights, up, stats.SDBMHash) })
	assert.Greater(t, others, 500)
}

func TestTableMapInterleaves(t *testing.T) {
	m := stats.TableMap([]int{20, 40, 60}, []bool{true, true, true}, stats.AddressHash)
	counts := make([]int, 3)
	for i := range 6 {
		counts[m([]byte{10, 0, 0, byte(i)})]++
	}
	assert.Equal(t, []int{1, 2, 3}, counts)
}

// Over random keys, the shares of a split are those of its map.
func TestSplitMap(t *testing.T) {
	m, r, counts := stats.SplitMap([]float64{0.05, 0.15, 0.8}), rand.New(rand.NewPCG(5, 5)), make([]float64, 3)
	for range 100_000 {
		key := make([]byte, 1+r.IntN(20))
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		counts[m(key)] += 1e-5
	}
	assert.InDeltaSlice(t, []float64{0.05, 0.15, 0.8}, counts, 0.01)
}

func TestTwoDraws(t *testing.T) {
	assert.InDeltaSlice(t, []float64{0.25, 0.4, 0.35}, stats.TwoChoiceShares([]int{1, 2, 3}), 1e-9)
	r, weights, counts := rand.New(rand.NewPCG(6, 6)), []int{1, 2, 5, 1}, make([]float64, 4)
	for range 200_000 {
		first := draw(r, stats.Shares(weights))
		second := first
		for second == first {
			second = draw(r, stats.Shares(weights))
		}
		counts[second] += 1. / 200_000
	}
	assert.InDeltaSlice(t, counts, stats.TwoChoiceShares(weights), 0.005)
}

// The interval of Jain's index has its nominal coverage.
func TestFairnessCovers(t *testing.T) {
	r, shares := rand.New(rand.NewPCG(7, 7)), stats.Shares([]int{1, 2, 3})
	f := func(truth []float64) {
		t.Helper()
		v := 0.0
		for i, q := range truth {
			v += (q - shares[i]) * (q - shares[i]) / shares[i]
		}
		const runs = 1000
		covered := 0
		for range runs {
			counts := make([]int, 3)
			for range 600 {
				counts[draw(r, truth)]++
			}
			fair := stats.FairnessOf(counts, shares, 0.95)
			assert.LessOrEqual(t, fair.LowJain, fair.HighJain)
			if fair.LowJain <= 1/(1+v)+1e-12 && 1/(1+v) <= fair.HighJain+1e-12 {
				covered++
			}
		}
		assert.Greater(t, covered, runs*92/100)
	}
	f(shares)
	f([]float64{0.2, 0.4, 0.4})
	f([]float64{11. / 60, 22. / 60, 27. / 60})
}

// Round robin is steadier than independent picks; its interval is that of picks as uneven as fair ones are on average.
func TestFairnessIntervalIsNeverAPoint(t *testing.T) {
	r, shares := rand.New(rand.NewPCG(7, 7)), stats.Shares([]int{1, 2, 3})
	for _, counts := range [][]int{
		{100, 200, 300},
		{1, 2, 3},
		{167, 333, 500},
		{0, 0, 1},
		{600, 0, 0},
		{1e6, 2e6, 3e6 + 1},
	} {
		for _, confidence := range []float64{0.95, 0.999} {
			fair := stats.FairnessOf(counts, shares, confidence)
			assert.Less(t, fair.LowJain, fair.HighJain, "%v: the interval is a point", counts)
			assert.Less(t, fair.LowCV, fair.HighCV, "%v: the interval is a point", counts)
			assert.True(t, fair.LowJain <= fair.Jain && fair.Jain <= fair.HighJain, "%v: %+v", counts, fair)
			assert.True(t, fair.LowCV <= fair.CV && fair.CV <= fair.HighCV, "%v: %+v", counts, fair)
		}
	}
	exact := stats.FairnessOf([]int{100, 200, 300}, shares, 0.95)
	assert.InDelta(t, 1, exact.Jain, 1e-12)
	// Independent picks that are as uneven as the upper end seldom have a chi-square of at most two, its mean when fair.
	d := exact.HighCV / math.Sqrt(1/shares[0]+1/shares[1])
	truth := []float64{shares[0] + d, shares[1] - d, shares[2]}
	const runs = 4000
	even := 0
	for range runs {
		counts := make([]int, 3)
		for range 600 {
			counts[draw(r, truth)]++
		}
		if cv := stats.FairnessOf(counts, shares, 0.95).CV; 600*cv*cv <= 2 {
			even++
		}
	}
	assert.InDelta(t, 0.025, float64(even)/runs, 0.01)
}

// HAProxy's roundrobin as measured on 2.6.12; the envelopes contain it.
func TestFastRoundRobin(t *testing.T) {
	sequence := func(next func() int, n int) string {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte('a' + next())
		}
		return string(out)
	}
	assert.Equal(t, "cbcacbcbcacb", sequence(stats.FastRoundRobin([]int{1, 2, 3}), 12))
	assert.Equal(t, sequence(stats.FastRoundRobin([]int{1, 2, 3}), 60),
		sequence(stats.FastRoundRobin([]int{100, 200, 300}), 60))
	assert.Equal(t, []int{4485, 7111, 8404}, stats.FastCounts([]int{7, 11, 13}, 20000), "as measured on 2.6.12")
	for _, weights := range [][]int{{1, 2, 3}, {1, 1, 1}, {5, 1, 1}, {1, 9}, {10, 1, 1, 1, 1, 1}, {1, 2, 4, 8, 16, 32}} {
		period := 0
		for _, w := range weights {
			period += w
		}
		for n := 1; n <= 20; n++ {
			counts := stats.FastCounts(weights, n*period)
			for i, w := range weights {
				assert.Equal(t, n*w, counts[i], "%v after %d picks", weights, n*period)
			}
		}
	}
	f := func(weights []int, low, high float64) {
		t.Helper()
		shares, env := stats.FastShares(weights)
		assert.InDeltaSlice(t, stats.Shares(weights), shares, 1e-9)
		assert.InDelta(t, low, slices.Min(env.Low), 0.001)
		assert.InDelta(t, high, slices.Max(env.High), 0.001)
	}
	f([]int{1, 2, 3}, -0.667, 0.5)
	f([]int{5, 1, 1}, -0.857, 0.857)
	f([]int{1, 2, 4, 8, 16, 32}, -0.746, 0.984)
	for _, weights := range [][]int{{7, 11, 13}, {100, 100, 80}} { // with other shares
		shares, env := stats.FastShares(weights)
		next, counts := stats.FastRoundRobin(weights), make([]int, len(weights))
		for n := range 200_000 {
			counts[next()]++
			for _, over := range env.Widen(1).Excess(counts, shares) {
				assert.Zero(t, over, "%v after %d picks", weights, n+1)
			}
		}
	}
	assert.Equal(t, "abb", sequence(stats.StaticRoundRobin([]int{10, 20}), 3))
	assert.InDeltaSlice(t, stats.StaticEnvelope([]int{1, 2}).High, stats.StaticEnvelope([]int{10, 20}).High, 1e-9)
}
