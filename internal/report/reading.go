package report

import (
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Reading is what lbproof finds in a configuration without a run, with the balancer's own answer if it was run.
type Reading struct {
	Balancer string                `json:"balancer"`
	Claims   []Promise             `json:"claims"`
	Problems []model.Problem       `json:"problems"`
	Needs    []model.Need          `json:"needs"`
	Unread   []model.Unread        `json:"unread"`
	Lines    Lines                 `json:"lines"`
	Checker  *model.BalancerAnswer `json:"checker"`             // nil if the balancer was not run
	NotAsked string                `json:"not_asked,omitempty"` // why
}

// Promise is a claim, and whether lbproof can judge it.
type Promise struct {
	plan.Claim
	Undecided string `json:"undecided,omitempty"` // why no run decides it yet
}

// Refused reports whether the balancer itself refuses the configuration, or does not start with it.
func (r Reading) Refused() bool {
	return r.Checker != nil && !(r.Checker.Accepted && r.Checker.Started)
}

// Fails reports whether a problem fails the gate. A rejected part does not count if the balancer accepts it.
func (r Reading) Fails(g Gate) bool {
	for _, p := range r.Problems {
		accepted := p.Effect == model.Rejected && r.Checker != nil && r.Checker.Accepted
		if g.Fails(p) && !accepted {
			return true
		}
	}
	return false
}

// Lines counts the lines of a configuration that are neither empty nor comments.
type Lines struct {
	All      int `json:"all"`
	Promises int `json:"promises"` // make claims
	Unread   int `json:"unread"`   // no claim is derived from them, each with a reason
	Form     int `json:"form"`     // support other claims: blocks, names, parts
}
