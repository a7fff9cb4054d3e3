package units

import (
	"fmt"
)

// Percent prints a ratio with two digits, as 0.34 %.
func Percent(ratio float64) string { return fmt.Sprintf("%.2g %%", 100*ratio) }

// PercentTenths prints a share with a tenth of a per cent, as 16.7 %.
func PercentTenths(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// PercentHundredths prints a share with a hundredth of a per cent, as 22.58 %.
func PercentHundredths(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// Number prints a count with thousands apart, as 20,000.
func Number(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// CountRange prints how often.
func CountRange(least [2]int) string {
	if least[0] == least[1] {
		return fmt.Sprint(least[0])
	}
	return fmt.Sprintf("%d to %d", least[0], least[1])
}

func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(n) + " " + noun + "s"
}
