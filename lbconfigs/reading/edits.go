package reading

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Edits are changes of a balancer's lines, in its notation, that make them claim something else.
type Edits struct {
	Parameters []Edit // tried in order; each match is a mutation of its own
	WholeLine  []Edit // if no parameter matches: the first match
	// Inner captures the directive of a block on one line; nil: there are no such blocks.
	Inner *regexp.Regexp
	// Nested: lines indented deeper belong to the line above them, and make its claims too.
	Nested bool
	// IsRemovable reports whether a file without the line is still a configuration; nil: never.
	IsRemovable func(cfg model.Config, line string) bool
}

// Edit changes one parameter of a line.
type Edit struct {
	Find    *regexp.Regexp          // the first group is replaced
	Replace func(old string) string // nil: the line is removed
	Checks  []plan.Check            // of the parameter's claims; none: all claims of the line
}

// Apply returns the changed line, empty if it is removed. ok is false if the edit does not match or changes nothing.
func (e Edit) Apply(line string) (changed string, ok bool) {
	at := e.Find.FindStringSubmatchIndex(line)
	if at == nil {
		return "", false
	}
	if e.Replace == nil {
		return "", true
	}
	changed = line[:at[2]] + e.Replace(line[at[2]:at[3]]) + line[at[3]:]
	return changed, changed != line
}

// Delete removes a word.
func Delete(string) string { return "" }

// ReplaceWith replaces a word by text.
func ReplaceWith(text string) func(string) string { return func(string) string { return text } }

// NearbyNumber returns a different number of similar size.
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

// Increment adds one.
func Increment(old string) string { return mapNumber(old, func(n float64) float64 { return n + 1 }) }

// Reduce returns about two thirds of a number.
func Reduce(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.65)) })
}

// ReduceSharply returns less than half, so that two workers together stay below the old number.
func ReduceSharply(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n*0.4)) })
}

// Half returns half of a number, at least 1.
func Half(old string) string {
	return mapNumber(old, func(n float64) float64 { return math.Max(1, math.Floor(n/2)) + math.Max(0, 2-n) })
}

// ShortenTime returns a number that does not divide the old one, so that repeated waits differ as well.
func ShortenTime(old string) string {
	return mapNumber(old, func(n float64) float64 {
		if n < 2 {
			return n + 1
		}
		return math.Floor(0.6 * n)
	})
}

// Double returns twice a number.
func Double(old string) string { return mapNumber(old, func(n float64) float64 { return 2 * n }) }

// mapNumber changes the number before a unit.
func mapNumber(old string, by func(float64) float64) string {
	digits := strings.TrimRight(old, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return old
	}
	return strconv.FormatFloat(by(n), 'f', -1, 64) + old[len(digits):]
}
