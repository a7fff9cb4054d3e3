package reading

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Edits are the changes of a balancer's lines by which they promise something else, in its own notation.
type Edits struct {
	Parameters []Edit // tried in order; each that fits makes a mutation of its own
	WholeLine  []Edit // for a line that no parameter fits: the first that fits does
	// Inner has as its first group the directive of a block that stands in one line; nil: the balancer has no such blocks.
	Inner *regexp.Regexp
	// Nested: what is indented deeper belongs to the line above it, and makes that line's promises too.
	Nested bool
	// IsRemovable reports whether a file without the line is still a configuration; nil: none ever is.
	IsRemovable func(cfg model.Config, line string) bool
}

// Edit changes one parameter of a line.
type Edit struct {
	Find    *regexp.Regexp          // its first group is replaced
	Replace func(old string) string // nil: the line is left out
	Checks  []plan.Check            // the kinds of promises that the parameter makes; none: all that the line makes
}

// Apply gives the changed line, which is empty where it is left out. ok: the edit fits, and changes something.
func (e Edit) Apply(line string) (changed string, ok bool) {
	at := e.Find.FindStringSubmatchIndex(line)
	if at == nil {
		return "", false
	}
	if e.Replace == nil {
		return "", true // without it
	}
	changed = line[:at[2]] + e.Replace(line[at[2]:at[3]]) + line[at[3]:]
	return changed, changed != line
}

// Delete leaves a word out.
func Delete(string) string { return "" }

// ReplaceWith replaces a word by another.
func ReplaceWith(text string) func(string) string { return func(string) string { return text } }

// NearbyNumber is another number near it.
func NearbyNumber(old string) string {
	return mapNumber(old, func(n float64) float64 {
		switch {
		case n >= 8:
			return math.Floor(0.6 * n)
		case n >= 2:
			return n - 1
		}
		return n + 1
	})
}

// Increment is the next number.
func Increment(old string) string { return mapNumber(old, func(n float64) float64 { return n + 1 }) }

// Reduce is about two thirds of a number.
func Reduce(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.65)) })
}

// ReduceSharply is so little that two workers together do not reach the old number.
func ReduceSharply(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.4)) })
}

// Half is half of a number, and at least 1.
func Half(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n/2)) + math.Max(0, 2-n) })
}

// ShortenTime is no part of it: what waits for it several times does not come to the same.
func ShortenTime(old string) string {
	return mapNumber(old, func(n float64) float64 {
		if n < 2 {
			return n + 1
		}
		return math.Floor(0.6 * n)
	})
}

// Double is twice a number.
func Double(old string) string { return mapNumber(old, func(n float64) float64 { return 2 * n }) }

// mapNumber puts another number before a unit.
func mapNumber(old string, by func(float64) float64) string {
	digits := strings.TrimRight(old, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return old
	}
	return strconv.FormatFloat(by(n), 'f', -1, 64) + old[len(digits):]
}
