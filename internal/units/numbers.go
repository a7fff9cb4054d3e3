package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Percent formats a ratio as a percentage with two significant digits: 0.34 %.
func Percent(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }

// PercentTenths formats a share as a percentage with one decimal: 16.7 %.
func PercentTenths(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// PercentHundredths formats a share as a percentage with two decimals: 22.58 %.
func PercentHundredths(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// Number formats a count with thousands separators: 20,000.
func Number(n int) string { return separateThousands(strconv.Itoa(n)) }

// significantDigits is how many digits of a measured number are shown.
const significantDigits = 3

// Decimal formats a number with three significant digits, thousands separators and no exponent: 0.0125, 7.2, 313,
// 1,050,000. Infinity is "unlimited".
func Decimal(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return "unlimited"
	case x == 0 || math.IsInf(x, -1) || math.IsNaN(x):
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', significantDigits, 64), 64)
	if err != nil {
		rounded = x
	}
	return separateThousands(strconv.FormatFloat(rounded, 'f', -1, 64))
}

// separateThousands puts commas between the thousands of a decimal number.
func separateThousands(number string) string {
	unsigned := strings.TrimPrefix(number, "-")
	whole, fraction, hasFraction := strings.Cut(unsigned, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	text := number[:len(number)-len(unsigned)] + whole
	if hasFraction {
		text += "." + fraction
	}
	return text
}

// CountRange formats how often something happens: 2, or 1 to 3.
func CountRange(least [2]int) string {
	if least[0] == least[1] {
		return fmt.Sprint(least[0])
	}
	return fmt.Sprintf("%d to %d", least[0], least[1])
}

// Plural formats a count with its noun: 1 request, 20,000 requests.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(n) + " " + noun + "s"
}

// binaryUnits are the units of Bytes, the largest first.
var binaryUnits = []struct {
	name string
	size int64
}{
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
}

// Bytes formats a size: 1 MiB (1,048,576 B), or 20 B if it is no whole number of a larger unit.
func Bytes(n int64) string {
	exact := separateThousands(strconv.FormatInt(n, 10)) + " B"
	for _, u := range binaryUnits {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%s %s (%s)", separateThousands(strconv.FormatInt(n/u.size, 10)), u.name, exact)
		}
	}
	return exact
}
