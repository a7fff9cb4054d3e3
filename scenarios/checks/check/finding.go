package check

import (
	"fmt"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
)

// MinFailureRatio is the smallest share of wrong requests that a claim about every request must detect.
const MinFailureRatio = 0.01

// RequestsNeeded returns how many requests a claim about every request needs.
func RequestsNeeded(h history.History) int {
	return stats.SamplesToDetect(MinFailureRatio, 1-h.Plan.Beta)
}

// RequestPower describes which failure rate n requests without a counter-example rule out.
func RequestPower(n int, h history.History) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("detects failures of %s of requests (power %g)",
		units.Percent(stats.DetectableShare(n, 1-h.Plan.Beta)), 1-h.Plan.Beta)
}

// Examples counts all counter-examples and keeps the first few.
type Examples struct {
	first []string
	Total int
}

// MaxExamples is how many counter-examples a report shows.
const MaxExamples = 5

func (e *Examples) Add(format string, args ...any) {
	if e.Total++; len(e.first) < MaxExamples {
		e.first = append(e.first, fmt.Sprintf(format, args...))
	}
}

// List returns the examples, followed by the number of those left out.
func (e *Examples) List() []string {
	if e.Total > len(e.first) {
		return append(e.first, fmt.Sprintf("and %s more", units.Number(e.Total-len(e.first))))
	}
	return e.first
}

// Finding is the evidence on one claim.
type Finding struct {
	N               int     // relevant observations
	Need            int     // observations needed to uphold the claim
	P               float64 // p-value; valid if Tested
	Tested          bool
	AnytimeValid    bool     // P is valid for any number of observations
	CounterExamples []string // observations that contradict the claim, regardless of chance
	Inconclusive    string   // why this run cannot decide the claim; empty: it can
	Untestable      string   // why no run of lbproof can decide it; empty: one can
	Test            string   // how the claim was tested
	Measured        string
	Predicted       string
	Power           string // what the run would have detected
	Note            string
}
