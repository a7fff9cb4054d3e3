package reports

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
)

// WriteDesign says what the phases of a plan would find out and what they cost, where the plan is one that lbproof
// designed; nothing where it is not.
func WriteDesign(out io.Writer, p plan.Plan) error {
	designed, requests, takes := false, 0, time.Duration(0)
	var rows [][]string
	for _, l := range plain.Value(p.Phases) {
		designed = designed || len(l.Detects) > 0
		requests += l.Count
		takes += l.EstimatedDuration()
		most := ""
		if len(l.StopRules) > 0 {
			most = "≤ "
		}
		count, lasts := most+fmt.Sprint(l.Count), fmt.Sprintf("%s%.0f s", most, l.EstimatedDuration().Seconds())
		rows = append(rows, []string{l.Name, count, lasts, strings.Join(l.Detects, "\n")})
	}
	if !designed {
		return nil
	}
	w := &strings.Builder{}
	if err := table(w, []string{"experiment", "requests", "takes", "would find out"}, rows, 1, 2); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d requests at most, in about %s beside start and stop\n\n", requests, takes.Round(time.Second))
	return trimmed(out, w.String())
}
