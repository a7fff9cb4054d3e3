package report

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Mutation is a changed line of a configuration and what came of it.
type Mutation struct {
	Pos          model.Pos     `json:"pos"`
	Old          string        `json:"old"`
	New          string        `json:"new"`                     // empty: the line is left out
	Claims       []string      `json:"claims"`                  // that the line makes
	Outcome      string        `json:"outcome,omitempty"`       // empty while it is not known
	Killers      []string      `json:"killers,omitempty"`       // those of Claims that were refuted
	OtherKillers []string      `json:"other_killers,omitempty"` // promises of other lines that were refuted too
	Reason       string        `json:"reason,omitempty"`
	Duration     time.Duration `json:"duration_ns,omitempty"`
}

// The outcomes of mutations.
const (
	MutationKilled          = "killed"           // a promise of the line was refuted
	MutationRefused         = "refused"          // the balancer does not start with it
	MutationSurvived        = "survived"         // no promise of the line noticed
	MutationOriginalRefuted = "original refuted" // the file as it is breaks all promises of the line
	MutationUntestable      = "untestable"       // no run can test a promise of the line
)

// Survivors counts the mutations that nobody noticed.
func Survivors(all []Mutation) int {
	n := 0
	for _, m := range all {
		if m.Outcome == MutationSurvived {
			n++
		}
	}
	return n
}

// Coverage is how many lines have a mutation that a run can test, and of how many each was noticed.
func Coverage(all []Mutation) (noticed, lines int) {
	survived := map[model.Pos]bool{}
	for _, m := range all {
		if m.Outcome == MutationOriginalRefuted || m.Outcome == MutationUntestable {
			continue
		}
		survived[m.Pos] = survived[m.Pos] || m.Outcome == MutationSurvived
	}
	for _, is := range survived {
		if !is {
			noticed++
		}
	}
	return noticed, len(survived)
}
