package report

import (
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Mutation is a changed line of a configuration and the result of the run with it.
type Mutation struct {
	Pos          model.Pos     `json:"pos"`
	Old          string        `json:"old"`
	New          string        `json:"new"`                     // empty: the line is removed
	Claims       []string      `json:"claims"`                  // that the line makes
	Outcome      string        `json:"outcome,omitempty"`       // empty until decided
	Killers      []string      `json:"killers,omitempty"`       // claims of the line that were refuted
	OtherKillers []string      `json:"other_killers,omitempty"` // promises of other lines that were refuted too
	Reason       string        `json:"reason,omitempty"`
	Duration     time.Duration `json:"duration_ns,omitempty"`
}

// The outcomes of mutations.
const (
	MutationKilled          = "killed"           // a promise of the line was refuted
	MutationRefused         = "refused"          // the balancer does not start with it
	MutationSurvived        = "survived"         // no promise of the line was refuted
	MutationOriginalRefuted = "original refuted" // the original file violates all promises of the line
	MutationUntestable      = "untestable"       // no run can test a promise of the line
)

// Survivors returns the number of mutations that survived.
func Survivors(all []Mutation) int {
	n := 0
	for _, m := range all {
		if m.Outcome == MutationSurvived {
			n++
		}
	}
	return n
}

// Coverage returns the number of lines with a mutation that a run can test, and on how many of them none survived.
func Coverage(all []Mutation) (tested, lines int) {
	survived := map[model.Pos]bool{}
	for _, m := range all {
		if m.Outcome == MutationOriginalRefuted || m.Outcome == MutationUntestable {
			continue
		}
		survived[m.Pos] = survived[m.Pos] || m.Outcome == MutationSurvived
	}
	for _, hasSurvivor := range survived {
		if !hasSurvivor {
			tested++
		}
	}
	return tested, len(survived)
}
