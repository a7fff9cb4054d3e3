package checks

import (
	"fmt"
	"math"
	"strings"

	"github.com/lbproof/lbproof/internal/lb"
	"github.com/lbproof/lbproof/internal/stats"
)

// Decide turns findings into verdicts, claim by claim, after one correction for the size of the family (Holm).
func Decide(claims []lb.Claim, findings []lb.Finding, alpha float64) []lb.Verdict {
	p := make([]float64, len(findings))
	for i, f := range findings {
		p[i] = math.NaN()
		if f.Tested {
			p[i] = f.P
		}
	}
	adjusted := stats.Holm(p)
	verdicts := make([]lb.Verdict, len(claims))
	for i, f := range findings {
		outcome, reason := decide(f, adjusted[i], alpha)
		verdicts[i] = lb.Verdict{
			Claim: claims[i], Outcome: outcome, Test: f.Test, N: f.N, Need: f.Need,
			Measured: f.Measured, Predicted: f.Predicted, Reason: reason, Counter: f.Counter,
		}
		if f.Tested {
			verdicts[i].P = &adjusted[i]
		}
		if outcome == lb.Upheld {
			verdicts[i].Power = f.Power
		}
		if f.Note != "" {
			verdicts[i].Reason = strings.TrimPrefix(reason+"; "+f.Note, "; ")
		}
	}
	return verdicts
}

// decide is the one place where evidence becomes an outcome.
func decide(f lb.Finding, p, alpha float64) (lb.Outcome, string) {
	switch {
	case f.Cannot != "":
		return lb.Untestable, f.Cannot
	case len(f.Counter) > 0:
		return lb.Refuted, f.Counter[0]
	case f.Broken != "":
		return lb.Undecided, f.Broken
	case f.Tested && f.Anytime && p < alpha:
		return lb.Refuted, fmt.Sprintf("p = %.2g after correction, below %g", p, alpha)
	case f.N == 0:
		return lb.Undecided, fmt.Sprintf("no request bears on it; %s would do", number(max(1, f.Need)))
	case f.N < f.Need:
		return lb.Undecided, fmt.Sprintf("%s of the %s observations that it needs", number(f.N), number(f.Need))
	case f.Tested && math.IsNaN(p):
		return lb.Undecided, "the test gave no p-value"
	case f.Tested && p < alpha:
		return lb.Refuted, fmt.Sprintf("p = %.2g after correction, below %g", p, alpha)
	}
	return lb.Upheld, ""
}
