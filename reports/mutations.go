package reports

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plain"
)

// Mutated is a changed line of a configuration and what came of it.
type Mutated struct {
	Pos     model.Pos     `json:"pos"`
	Old     string        `json:"old"`
	New     string        `json:"new"`               // empty: the line is left out
	Claims  []string      `json:"claims"`            // that the line makes
	Outcome string        `json:"outcome,omitempty"` // empty while it is not known
	Killers []string      `json:"killers,omitempty"` // those of Claims that were refuted
	Others  []string      `json:"others,omitempty"`  // promises of other lines that were refuted too
	Why     string        `json:"why,omitempty"`
	Took    time.Duration `json:"took_ns,omitempty"`
}

// The outcomes of mutations.
const (
	Killed      = "killed"   // a promise of the line was refuted
	Unstartable = "refused"  // the balancer does not start with it
	Survived    = "survived" // no promise of the line noticed
	Broken      = "broken"   // the file as it is breaks all promises of the line
	Beyond      = "beyond"   // no run can test a promise of the line
)

// Survivors counts the mutations that nobody noticed.
func Survivors(all []Mutated) int {
	n := 0
	for _, m := range all {
		if m.Outcome == Survived {
			n++
		}
	}
	return n
}

// Coverage is how many lines have a mutation that a run can test, and of how many each was noticed.
func Coverage(all []Mutated) (noticed, lines int) {
	survived := map[model.Pos]bool{}
	for _, m := range all {
		if m.Outcome == Broken || m.Outcome == Beyond {
			continue
		}
		survived[m.Pos] = survived[m.Pos] || m.Outcome == Survived
	}
	for _, is := range survived {
		if !is {
			noticed++
		}
	}
	return noticed, len(survived)
}

// WriteMutations lists the survivors with their lines, then what was refuted beside, and the coverage.
func WriteMutations(w io.Writer, raw []Mutated) error {
	all := plain.Value(raw)
	var b strings.Builder
	for i, m := range all {
		if m.Outcome == Survived {
			fmt.Fprintf(&b, "%s: survived: %s\n", m.Pos, changed(raw[i]))
			fmt.Fprintf(&b, "    makes %s\n", strings.Join(m.Claims, ", "))
			if m.Why != "" {
				fmt.Fprintf(&b, "    %s\n", m.Why)
			}
		}
	}
	for i, m := range all {
		if m.Outcome == Beyond {
			fmt.Fprintf(&b, "%s: no run can test %s: %s\n", m.Pos, changed(raw[i]), m.Why)
		}
	}
	for i, m := range all {
		if len(m.Others) > 0 {
			fmt.Fprintf(&b, "%s: %s refutes promises of other lines too: %s\n", m.Pos, changed(raw[i]), strings.Join(slices.Sorted(slices.Values(m.Others)), ", "))
		}
	}
	count := map[string]int{}
	took := time.Duration(0)
	for _, m := range all {
		count[m.Outcome]++
		took += m.Took
	}
	noticed, lines := Coverage(raw)
	percent := 0.
	if lines > 0 {
		percent = 100 * float64(noticed) / float64(lines)
	}
	fmt.Fprintf(&b, "%d of %d lines that promise something are tested (%.0f %%): %d changes killed, %d refused by the balancer, %d survived, %d that no run can test; the runs that decided them took %s\n",
		noticed, lines, percent, count[Killed], count[Unstartable], count[Survived], count[Beyond], took.Round(time.Second))
	_, err := io.WriteString(w, b.String())
	return err
}

// changed quotes what was changed, and takes it as it was.
func changed(m Mutated) string {
	if m.New == "" {
		return plain.Text(fmt.Sprintf("without %q", m.Old))
	}
	return plain.Text(fmt.Sprintf("%q instead of %q", m.New, m.Old))
}
