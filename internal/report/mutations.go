package report

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
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
