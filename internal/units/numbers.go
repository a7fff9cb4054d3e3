package units

import "fmt"

// Percent formats a ratio as a percentage with two significant digits: 0.34 %.
func Percent(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }

// PercentTenths formats a share as a percentage with one decimal: 16.7 %.
func PercentTenths(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// PercentHundredths formats a share as a percentage with two decimals: 22.58 %.
func PercentHundredths(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// Number formats a count with thousands separators: 20,000.
func Number(n int) string {
	digits := fmt.Sprint(max(n, -n))
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	if n < 0 {
		return "-" + digits
	}
	return digits
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
