package units

import (
	"math"
	"strconv"
	"strings"
)

// Bytes formats a size in the largest binary unit, followed by the number of bytes: 1 MiB (1,048,576 B), 500 B.
func Bytes(n int64) string {
	exact := Number(int(n)) + " B"
	if n < 1<<10 {
		return exact
	}
	size, unit := float64(n), ""
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if size < 1<<10 {
			break
		}
		size, unit = size/(1<<10), next
	}
	return Decimal(size) + " " + unit + " (" + exact + ")"
}

// Decimal formats a number with at most three decimals and without an exponent: 0.5, 1,048,576.
func Decimal(x float64) string {
	whole, part := math.Modf(math.Round(x*1000) / 1000)
	text := Number(int(whole))
	if part == 0 {
		return text
	}
	if x < 0 && whole == 0 {
		text = "-" + text
	}
	digits := strconv.FormatFloat(math.Abs(part), 'f', 3, 64)
	return text + strings.TrimRight(digits[1:], "0")
}
