package checks

import (
	"fmt"
	"math"
	"strings"

	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/report"
	"github.com/lbproof/lbproof/internal/stats"
	"github.com/lbproof/lbproof/internal/units"
	"github.com/lbproof/lbproof/scenarios/checks/check"
)

// Decide turns findings into verdicts, after one correction over all claims (Holm).
func Decide(claims []plan.Claim, findings []check.Finding, alpha float64) []report.Verdict {
	p := make([]float64, len(findings))
	for i, f := range findings {
		p[i] = math.NaN()
		if f.Tested {
			p[i] = f.P
		}
	}
	adjusted := stats.Holm(p)
	verdicts := make([]report.Verdict, len(claims))
	for i, f := range findings {
		outcome, reason := decide(f, adjusted[i], alpha)
		verdicts[i] = report.Verdict{
			Claim: claims[i], Outcome: outcome, Test: f.Test, N: f.N, Need: f.Need,
			Measured: f.Measured, Predicted: f.Predicted, Reason: reason, Counter: f.CounterExamples,
		}
		if f.Tested {
			verdicts[i].P = &adjusted[i]
		}
		if outcome == report.Upheld {
			verdicts[i].Power = f.Power
		}
		if f.Note != "" {
			verdicts[i].Reason = strings.TrimPrefix(reason+"; "+f.Note, "; ")
		}
	}
	return verdicts
}

// decide turns a finding into an outcome and its reason. No other code does.
func decide(f check.Finding, p, alpha float64) (report.Outcome, string) {
	switch {
	case f.Untestable != "":
		return report.Untestable, f.Untestable
	case len(f.CounterExamples) > 0:
		return report.Refuted, f.CounterExamples[0]
	case f.Inconclusive != "":
		return report.Undecided, f.Inconclusive
	case f.Tested && f.AnytimeValid && p < alpha:
		return report.Refuted, fmt.Sprintf("p = %.2g after correction, below alpha = %g", p, alpha)
	case f.N == 0:
		return report.Undecided, fmt.Sprintf("no relevant requests (need %s)", units.Number(max(1, f.Need)))
	case f.N < f.Need:
		return report.Undecided, fmt.Sprintf("%s of %s observations needed", units.Number(f.N), units.Number(f.Need))
	case f.Tested && math.IsNaN(p):
		return report.Undecided, "the test returned no p-value"
	case f.Tested && p < alpha:
		return report.Refuted, fmt.Sprintf("p = %.2g after correction, below alpha = %g", p, alpha)
	}
	return report.Upheld, ""
}
