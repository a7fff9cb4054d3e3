package plan

import (
	"math"
	"math/rand/v2"
	"time"
)

// Shape describes how the rate of an open loop varies. The zero value is the constant Phase.Rate.
type Shape struct {
	Kind      ShapeKind       `json:"kind,omitempty"`
	From      float64         `json:"from,omitempty"` // requests per second: start of a Ramp, minimum of a Sine
	To        float64         `json:"to,omitempty"`   // end of a Ramp, maximum of a Sine
	Period    time.Duration   `json:"period_ns,omitempty"`
	BurstSize int             `json:"burst_size,omitempty"` // requests per burst
	Steps     []Step          `json:"steps,omitempty"`
	Times     []time.Duration `json:"times_ns,omitempty"` // of a Replay, since its first
}

// Step is a stretch with a constant rate.
type Step struct {
	Rate     float64       `json:"rate"` // requests per second
	Duration time.Duration `json:"duration_ns"`
}

// ShapeKind names a shape.
type ShapeKind string

// The shapes.
const (
	Poisson ShapeKind = "poisson" // exponentially distributed gaps with mean 1 / Phase.Rate
	Ramp    ShapeKind = "ramp"    // linear From → To over the phase
	Steps   ShapeKind = "steps"   // one constant rate after another
	Sine    ShapeKind = "sine"    // between From and To with Period, rising from the middle
	Bursts  ShapeKind = "bursts"  // BurstSize requests at once, every Period
	Replay  ShapeKind = "replay"  // at the recorded Times
)

// DueTimes returns an iterator of the due times since the phase began: call it Count times. Request i is due when the
// integral of the rate reaches i; the gaps of Poisson depend on the seed.
func (l Phase) DueTimes() func() time.Duration {
	i := -1
	next := func() float64 { i++; return float64(i) }
	switch s := l.Shape; s.Kind {
	case Poisson:
		r, at := rand.New(rand.NewPCG(l.Seed, 1)), 0.0
		return func() time.Duration { at += r.ExpFloat64() / l.Rate; return seconds(at) }
	case Ramp:
		return func() time.Duration { return seconds(rampTime(next(), s.From, s.To, float64(l.Count))) }
	case Steps:
		return func() time.Duration { return stepTime(next(), s.Steps) }
	case Sine:
		at := 0.0
		return func() time.Duration { at = sineTime(next(), at, s); return seconds(at) }
	case Bursts:
		return func() time.Duration { return time.Duration(int(next())/s.BurstSize) * s.Period }
	case Replay:
		return func() time.Duration { return s.Times[int(next())] }
	}
	return func() time.Duration { return seconds(next() / l.Rate) }
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// rampTime returns when, in seconds, the integral of a rate that changes linearly from a to b within n requests reaches
// i. The phase takes T = 2n/(a+b); a·t + (b-a)·t²/2T = i is solved in the form that is exact for a = b too.
func rampTime(i, a, b, n float64) float64 {
	slope := (b - a) * (a + b) / (2 * n) // requests per second, per second
	if i == 0 {
		return 0
	}
	return 2 * i / (a + math.Sqrt(max(0, a*a+2*slope*i)))
}

// stepTime returns when the integral of a rate that is constant in steps reaches i; the last step never ends.
func stepTime(i float64, steps []Step) time.Duration {
	at := time.Duration(0)
	for n, s := range steps {
		holds := s.Rate * s.Duration.Seconds()
		if i < holds || n == len(steps)-1 {
			return at + seconds(i/s.Rate)
		}
		i -= holds
		at += s.Duration
	}
	return at
}

// sineTime returns when the integral of mid + amp·sin(2πt/T), which is mid·t + amp·T/2π·(1 - cos(2πt/T)), reaches i.
// Newton's method starts at the previous due time; its slope, the rate, is never below From.
func sineTime(i, before float64, s Shape) float64 {
	mid, amp, period := (s.From+s.To)/2, (s.To-s.From)/2, s.Period.Seconds()
	w := 2 * math.Pi / period
	rate := func(t float64) float64 { return mid + amp*math.Sin(w*t) }
	t := before
	for range 20 {
		off := mid*t + amp/w*(1-math.Cos(w*t)) - i
		t -= off / rate(t)
		if math.Abs(off) < 1e-9 {
			break
		}
	}
	return max(t, before)
}
