package check

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
)

// MinFailureRatio is the ratio of wrong requests that a claim about every request must be able to show.
const MinFailureRatio = 0.01

// RequestsNeeded is how many requests a claim about every request needs.
func RequestsNeeded(h history.History) int {
	return stats.SamplesToDetect(MinFailureRatio, 1-h.Plan.Beta)
}

// RequestPower says what n requests without a counter-example have shown.
func RequestPower(n int, h history.History) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("would have caught a failure of %s of requests with probability %g",
		units.Percent(stats.DetectableShare(n, 1-h.Plan.Beta)), 1-h.Plan.Beta)
}

// Examples keeps the first few contradictions, and counts all.
type Examples struct {
	first []string
	Total int
}

const MaxExamples = 5

func (e *Examples) Add(format string, args ...any) {
	if e.Total++; len(e.first) < MaxExamples {
		e.first = append(e.first, fmt.Sprintf(format, args...))
	}
}

// List ends with the number of contradictions that it leaves out.
func (e *Examples) List() []string {
	if e.Total > len(e.first) {
		return append(e.first, fmt.Sprintf("and %s more", units.Number(e.Total-len(e.first))))
	}
	return e.first
}

// Finding is the evidence on one claim.
type Finding struct {
	N               int     // observations that bear on the claim
	Need            int     // observations that make an Upheld worth its name
	P               float64 // p-value, read only where Tested
	Tested          bool
	AnytimeValid    bool     // P holds however few observations there are
	CounterExamples []string // observations that contradict the claim whatever the chance
	Inconclusive    string   // why the law does not apply to this run
	Untestable      string   // why no run of this harness can decide it
	Test            string   // the law used
	Measured        string
	Predicted       string
	Power           string // what the run would have caught
	Note            string
}
