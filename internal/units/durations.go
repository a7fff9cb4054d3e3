package units

import (
	"math"
	"strings"
	"time"
)

// Seconds returns a duration as the value of a parameter in seconds.
func Seconds(d time.Duration) float64 { return d.Seconds() }

const day = 24 * time.Hour

// durationUnits are the units of Duration, the largest first.
var durationUnits = []struct {
	name string
	size time.Duration
}{
	{"day", day},
	{"h", time.Hour},
	{"min", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
	{"µs", time.Microsecond},
	{"ns", time.Nanosecond},
}

// Duration formats a duration with its unit: 250 ms, 7.2 s, 75 s, 2 min, 1.5 h, 8 days. Whole seconds, which people
// write into configurations, are exact; all else has three significant digits.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	for i, u := range durationUnits {
		if !suits(d, u.size) {
			continue
		}
		value := significant(float64(d) / float64(u.size))
		switch {
		case d%time.Second == 0 && u.size == time.Second:
			value = Number(int(d / time.Second))
		case value == "1,000" && u.size < time.Second: // 999.9 ms
			value, u = "1", durationUnits[i-1]
		}
		if u.size == day && value != "1" {
			u.name += "s"
		}
		return value + " " + u.name
	}
	return "0 s"
}

// significant formats a number of 1 or more with three significant digits.
func significant(x float64) string {
	digits := 2 - int(math.Log10(x))
	scale := math.Pow10(digits)
	return Decimal(math.Round(x*scale) / scale)
}

// suits reports whether a duration is written in a unit, if no larger one suits it. Whole seconds suit units of which
// they are a multiple of one half, other durations every unit up to their size. Minutes below ten must be whole.
func suits(d, unit time.Duration) bool {
	isWhole, isHalf := d%unit == 0, 2*d%unit == 0
	switch {
	case d < unit:
		return false
	case isWhole || unit <= time.Second:
		return true
	case unit == time.Minute && d < 10*time.Minute:
		return false
	}
	return isHalf || d%time.Second != 0
}

// Notation returns a duration as flags and scenarios write it: 10m, 1h30m, 500ms.
func Notation(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// DurationRange formats the durations from one to another: 30–31 s, 500 ms–1 s; one alone if both are equal.
func DurationRange(least, most time.Duration) string {
	from, to := Duration(least), Duration(most)
	value, unit, _ := strings.Cut(from, " ")
	switch {
	case from == to:
		return to
	case least == 0 || strings.HasSuffix(to, " "+unit):
		return value + "–" + to
	}
	return from + "–" + to
}
