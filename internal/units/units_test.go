package units

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestNumbers(t *testing.T) {
	assert.Equal(t, "0.34 %", Percent(0.0034))
	assert.Equal(t, "16.7 %", PercentTenths(1./6))
	assert.Equal(t, "22.58 %", PercentHundredths(0.22581))
	assert.Equal(t, "999", Number(999))
	assert.Equal(t, "1,234,567", Number(1234567))
	assert.Equal(t, "-1,000", Number(-1000))
	assert.Equal(t, "-100", Number(-100))
	assert.Equal(t, "1 request", Plural(1, "request"))
	assert.Equal(t, "20,000 requests", Plural(20000, "request"))
	assert.Equal(t, "2", CountRange([2]int{2, 2}))
	assert.Equal(t, "1 to 3", CountRange([2]int{1, 3}))
}

func TestLists(t *testing.T) {
	assert.Equal(t, "", Join(nil))
	assert.Equal(t, "a", Join([]string{"a"}))
	assert.Equal(t, "a, b and c", Join([]string{"a", "b", "c"}))
	assert.Equal(t, "502 or 504", Alternatives([]int{502, 504}))
	assert.Equal(t, "a or b", JoinWith([]text{"a", "b"}, " or "))
}

type text string

func TestDurations(t *testing.T) {
	assert.Equal(t, 1.5, Seconds(1500*time.Millisecond))
	for want, d := range map[string]time.Duration{
		"0 s": 0, "5 ns": 5, "250 µs": 250 * time.Microsecond, "500 ms": 500 * time.Millisecond,
		"7.2 s": 7202881152, "1 s": 999_999_999, "75 s": 75 * time.Second, "90 s": 90 * time.Second,
		"1 min": time.Minute, "3 min": 3 * time.Minute, "313 s": 312*time.Second + 600*time.Millisecond,
		"12.5 min": 750 * time.Second, "754 s": 754 * time.Second, "12.6 min": 754300 * time.Millisecond,
		"100 min": 100 * time.Minute, "1,000 min": 60000 * time.Second, "3,665 s": 3665 * time.Second,
		"1 h": time.Hour, "1.5 h": 90 * time.Minute, "8 h": 8 * time.Hour,
		"1 day": day, "1.5 days": 36 * time.Hour, "30 days": 30 * day, "1,000 days": 1000 * day, "-2 s": -2 * time.Second,
	} {
		assert.Equal(t, want, Duration(d))
	}
}

func TestNotation(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"10m": 10 * time.Minute, "8h": 8 * time.Hour, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond,
	} {
		assert.Equal(t, want, Notation(d))
	}
}

func TestDurationRanges(t *testing.T) {
	f := func(want string, least, most time.Duration) {
		t.Helper()
		assert.Equal(t, want, DurationRange(least, most))
	}
	f("30–31 s", 30*time.Second, 31*time.Second)
	f("0–10 s", 0, 10*time.Second)
	f("0–500 ms", 0, 500*time.Millisecond)
	f("500 ms–1 s", 500*time.Millisecond, time.Second)
	f("1–2 min", time.Minute, 2*time.Minute)
	f("5 s", 5*time.Second, 5*time.Second)
}
