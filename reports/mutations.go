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

// WriteMutations writes the coverage of a configuration's lines, then the mutations that survived, are untestable, or
// refuted promises of other lines as well.
func WriteMutations(w io.Writer, raw []report.Mutation) error {
	all := plain.Value(raw)
	var b strings.Builder
	writeHanging(&b, "", coverage(raw))
	for i, m := range all {
		if m.Outcome == report.MutationSurvived {
			fmt.Fprintf(&b, "\nSURVIVED  %s\n", m.Pos)
			writeField(&b, "", changed(raw[i]))
			writeField(&b, "claims", strings.Join(m.Claims, ", "))
			writeField(&b, "reason", m.Reason)
		}
	}
	for i, m := range all {
		if m.Outcome == report.MutationUntestable {
			fmt.Fprintf(&b, "\nUNTESTABLE  %s\n", m.Pos)
			writeField(&b, "", changed(raw[i]))
			writeField(&b, "reason", m.Reason)
		}
	}
	for i, m := range all {
		if len(m.OtherKillers) > 0 {
			others := strings.Join(slices.Sorted(slices.Values(m.OtherKillers)), ", ")
			fmt.Fprintf(&b, "\nkilled  %s\n", m.Pos)
			writeField(&b, "", changed(raw[i]))
			writeField(&b, "also", "refutes promises of other lines: "+others)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// coverage counts the tested lines, and the mutations by their outcome.
func coverage(all []report.Mutation) string {
	count := map[string]int{}
	took := time.Duration(0)
	for _, m := range all {
		count[m.Outcome]++
		took += m.Duration
	}
	tested, lines := report.Coverage(all)
	percent := 0.
	if lines > 0 {
		percent = 100 * float64(tested) / float64(lines)
	}
	return fmt.Sprintf("%d of %d lines with claims are tested (%.0f %%): ", tested, lines, percent) +
		fmt.Sprintf("%d mutations killed, %d refused by the balancer, %d survived, %d untestable",
			count[report.MutationKilled], count[report.MutationRefused],
			count[report.MutationSurvived], count[report.MutationUntestable]) +
		fmt.Sprintf(" (runs took %s)", took.Round(time.Second))
}

// changed describes a mutation. m holds the original text, not yet escaped.
func changed(m report.Mutation) string {
	if m.New == "" {
		return plain.Text(fmt.Sprintf("without %q", m.Old))
	}
	return plain.Text(fmt.Sprintf("%q instead of %q", m.New, m.Old))
}
