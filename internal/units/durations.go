package units

import (
	"strings"
	"time"
)

// Seconds are a time as a parameter.
func Seconds(d time.Duration) float64 { return d.Seconds() }

// Duration prints a time without what is zero in it, as 1m and not 1m0s.
func Duration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return Plural(int(d/day), "day")
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
