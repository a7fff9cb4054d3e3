package model

import (
	"fmt"
	"slices"
	"time"
)

// Ejection takes a server out of rotation by what its requests come to.
type Ejection struct {
	Pos      Pos            `json:"pos"`
	Implicit bool           `json:"implicit,omitempty"`
	Rule     EjectionRule   `json:"rule"`
	Failures Failures       `json:"failures"`              // what is a failed attempt
	MaxFails int            `json:"max_fails"`             // failed attempts; 0 never takes it out
	Window   time.Duration  `json:"window_ns,omitempty"`   // in which FailuresInWindow counts them
	Duration time.Duration  `json:"duration_ns,omitempty"` // how long it is out, where Ends is EndsByTime
	EndedBy  EjectionEnd    `json:"ended_by"`
	Action   EjectionAction `json:"action"`
	Source   string         `json:"source,omitempty"` // Fails and Out where they are defaults
}

// EjectionRule is how failed attempts are counted.
type EjectionRule string

// The laws of ejection.
const (
	// FailuresInWindow: Fails of them, until a good answer comes more than Within after the last. The clock counts
	// whole seconds, so that Out lasts up to one more; then one attempt tells whether it lasts again (nginx:
	// ngx_http_upstream_round_robin.c).
	FailuresInWindow EjectionRule = "failures in a window"
	// ConsecutiveErrors: Fails in a row, of which a good answer begins a new one (HAProxy: observe; Traefik:
	// passiveHealthCheck).
	ConsecutiveErrors EjectionRule = "consecutive errors"
)

// EjectionEnd is what brings a server back.
type EjectionEnd string

// The ends of an ejection.
const (
	EndedByTime         EjectionEnd = "time"          // Out is over
	EndedByHealthChecks EjectionEnd = "health checks" // as many as Active.Rise passed
)

// EjectionAction is what becomes of a server whose requests failed often enough.
type EjectionAction string

// What becomes of it (but for the first, HAProxy's on-error).
const (
	ActionEject        EjectionAction = "out"             // it is out of rotation
	ActionFailCheck    EjectionAction = "failed check"    // as after one more failed health check
	ActionFastChecks   EjectionAction = "faster checks"   // its health checks come as fast as in doubt
	ActionOneCheckLeft EjectionAction = "last check left" // one failed health check takes it out
)

// Equivalent reports whether two servers are taken out by the same failures, and for as long.
func (e Ejection) Equivalent(o Ejection) bool {
	sameLaw := e.Rule == o.Rule && e.Action == o.Action
	sameFailures := e.MaxFails == o.MaxFails && e.Failures.equal(o.Failures)
	sameTimes := e.Window == o.Window && e.Duration == o.Duration
	return sameLaw && sameFailures && sameTimes
}

// Failures are what counts as a failed attempt at a server.
type Failures struct {
	Causes   []Cause       `json:"causes,omitempty"`
	Statuses []StatusRange `json:"statuses,omitempty"` // of answers that count as failures
	Source   string        `json:"source,omitempty"`   // as the configuration has it, or its default
}

// Cause is why an attempt came to no answer.
type Cause string

// The causes.
const (
	CauseConnect   Cause = "no connection came about"
	CauseClosed    Cause = "the connection ended without an answer"
	CauseTimeout   Cause = "the server was silent for too long"
	CauseMalformed Cause = "the answer is no HTTP"
	CauseEarlyData Cause = "the server refused early data"
	CauseOther     Cause = "something that lbproof does not know"
)

// HasCause reports whether a cause counts.
func (f Failures) HasCause(c Cause) bool { return slices.Contains(f.Causes, c) }

// HasStatus reports whether an answer with a status counts.
func (f Failures) HasStatus(code int) bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.Has(code) })
}

// HasServerErrors reports whether answers of a server that says it is in trouble count (RFC 9110, section 15.6).
func (f Failures) HasServerErrors() bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.To >= 500 })
}

// CoversSentRequests reports whether failures count that come after the server has got the request.
func (f Failures) CoversSentRequests() bool {
	return len(f.Statuses) > 0 || slices.ContainsFunc(f.Causes, func(c Cause) bool { return c != CauseConnect })
}

func (f Failures) equal(o Failures) bool {
	return slices.Equal(f.Causes, o.Causes) && slices.Equal(f.Statuses, o.Statuses)
}

// StatusRange are the statuses from one to another, both included.
type StatusRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Status is the range of one alone.
func Status(code int) StatusRange { return StatusRange{From: code, To: code} }

// Has reports whether a status is in the range.
func (r StatusRange) Has(code int) bool { return code >= r.From && code <= r.To }

// String is as "a status from 200 to 399".
func (r StatusRange) String() string { return fmt.Sprintf("a status from %d to %d", r.From, r.To) }
