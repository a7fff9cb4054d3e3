package reports

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/units"
)

// WriteDesign writes the phases of a plan with their cost and how many mistakes they detect; if verbose, also which.
// Unless verbose, it writes nothing for the plan of a scenario.
func WriteDesign(out io.Writer, p plan.Plan, verbose bool) error {
	designed, requests, took := false, 0, time.Duration(0)
	w := &strings.Builder{}
	var rows [][]string
	for _, phase := range plain.Value(p.Phases) {
		designed = designed || len(phase.Detects) > 0
		requests += phase.Count
		took += phase.EstimatedDuration()
		most := ""
		if len(phase.StopRules) > 0 {
			most = "≤ "
		}
		rows = append(rows, []string{
			phase.Name, most + units.Number(phase.Count),
			fmt.Sprintf("%s%.0f s", most, phase.EstimatedDuration().Seconds()), units.Number(len(phase.Detects)),
		})
	}
	if !designed && !verbose {
		return nil
	}
	if err := table(w, []string{"phase", "requests", "duration", "detects"}, rows, 1, 2, 3); err != nil {
		return err
	}
	if verbose {
		writeDetects(w, plain.Value(p.Phases))
	}
	fmt.Fprintf(w, "%s requests at most, about %s plus start and stop\n\n",
		units.Number(requests), took.Round(time.Second))
	return writeTrimmed(out, w.String())
}

// writeDetects lists what each phase detects.
func writeDetects(w io.Writer, phases []plan.Phase) {
	for _, phase := range phases {
		if len(phase.Detects) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s detects:\n", phase.Name)
		for _, d := range phase.Detects {
			writeIndented(w, "  ", "    ", d)
		}
	}
	fmt.Fprintln(w)
}
