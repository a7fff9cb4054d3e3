package nginx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseTime parses nginx's notation of durations, as 1h30m; a number alone is seconds (nginx.org/en/docs/syntax.html).
func parseTime(text string) (time.Duration, error) {
	units := []struct {
		suffix string
		each   time.Duration
	}{
		{"ms", time.Millisecond},
		{"y", 365 * 24 * time.Hour},
		{"M", 30 * 24 * time.Hour},
		{"w", 7 * 24 * time.Hour},
		{"d", 24 * time.Hour},
		{"h", time.Hour},
		{"m", time.Minute},
		{"s", time.Second},
		{"", time.Second},
	}
	total, rest := time.Duration(0), text
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || n > 1<<30 {
			return 0, fmt.Errorf("%q is not a duration such as 10s or 1h30m", text)
		}
		rest = strings.TrimLeft(rest[digits:], " ")
		for _, u := range units {
			if after, ok := strings.CutPrefix(rest, u.suffix); ok {
				total, rest = total+time.Duration(n)*u.each, after
				break
			}
		}
	}
	if text == "" {
		return 0, errors.New("the duration is empty")
	}
	return total, nil
}

// parseSize parses bytes with the suffixes k, m and g, as 10m.
func parseSize(text string) (int64, error) {
	number, unit := text, int64(1)
	for suffix, each := range map[string]int64{"k": 1 << 10, "m": 1 << 20, "g": 1 << 30} {
		if before, ok := strings.CutSuffix(strings.ToLower(text), suffix); ok {
			number, unit = before, each
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size such as 10m", text)
	}
	return n * unit, nil
}
