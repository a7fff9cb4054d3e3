package report

import (
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Reading is all that is said of a configuration before anything runs.
type Reading struct {
	Balancer string                `json:"balancer"`
	Claims   []Promise             `json:"claims"`
	Problems []model.Problem       `json:"problems"`
	Needs    []model.Need          `json:"needs"`
	Unread   []model.Unread        `json:"unread"`
	Lines    Lines                 `json:"lines"`
	Checker  *model.BalancerAnswer `json:"checker"`             // nil where the balancer itself was not asked
	NotAsked string                `json:"not_asked,omitempty"` // why
}

// Promise is a claim, and whether lbproof can judge it.
type Promise struct {
	plan.Claim
	Undecided string `json:"undecided,omitempty"` // why no run decides it yet
}

// Lines counts the lines of a configuration that say something.
type Lines struct {
	All      int `json:"all"`      // neither empty nor comment
	Promises int `json:"promises"` // that a promise comes from
	Unread   int `json:"unread"`   // that none comes from, each with a reason
	Form     int `json:"form"`     // the rest: blocks, names and parts of what other lines promise
}
