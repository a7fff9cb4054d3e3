package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/plain"
	"github.com/lbproof/lbproof/internal/report"
)

// WriteMutations lists the survivors with their lines, then what was refuted beside, and the coverage.
func WriteMutations(w io.Writer, raw []report.Mutation) error {
	all := plain.Value(raw)
	var b strings.Builder
	for i, m := range all {
		if m.Outcome == report.MutationSurvived {
			fmt.Fprintf(&b, "%s: survived: %s\n", m.Pos, changed(raw[i]))
			fmt.Fprintf(&b, "    makes %s\n", strings.Join(m.Claims, ", "))
			if m.Reason != "" {
				fmt.Fprintf(&b, "    %s\n", m.Reason)
			}
		}
	}
	for i, m := range all {
		if m.Outcome == report.MutationUntestable {
			fmt.Fprintf(&b, "%s: no run can test %s: %s\n", m.Pos, changed(raw[i]), m.Reason)
		}
	}
	for i, m := range all {
		if len(m.OtherKillers) > 0 {
			others := strings.Join(slices.Sorted(slices.Values(m.OtherKillers)), ", ")
			fmt.Fprintf(&b, "%s: %s refutes promises of other lines too: %s\n", m.Pos, changed(raw[i]), others)
		}
	}
	writeCoverage(&b, raw)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCoverage says how many lines are tested, and what came of the changes.
func writeCoverage(w io.Writer, all []report.Mutation) {
	count := map[string]int{}
	took := time.Duration(0)
	for _, m := range all {
		count[m.Outcome]++
		took += m.Duration
	}
	noticed, lines := report.Coverage(all)
	percent := 0.
	if lines > 0 {
		percent = 100 * float64(noticed) / float64(lines)
	}
	fmt.Fprintf(w, "%d of %d lines that promise something are tested (%.0f %%): ", noticed, lines, percent)
	fmt.Fprintf(w, "%d changes killed, %d refused by the balancer, %d survived, %d that no run can test; ",
		count[report.MutationKilled], count[report.MutationRefused], count[report.MutationSurvived], count[report.MutationUntestable])
	fmt.Fprintf(w, "the runs that decided them took %s\n", took.Round(time.Second))
}

// changed quotes what was changed, and takes it as it was.
func changed(m report.Mutation) string {
	if m.New == "" {
		return plain.Text(fmt.Sprintf("without %q", m.Old))
	}
	return plain.Text(fmt.Sprintf("%q instead of %q", m.New, m.Old))
}
