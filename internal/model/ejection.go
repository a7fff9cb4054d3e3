package model

import (
	"fmt"
	"slices"
	"time"
)

// Ejection takes a server out of rotation by what its requests come to.
type Ejection struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Law      EjectionLaw   `json:"law"`
	On       Failures      `json:"on"`                  // what is a failed attempt
	Fails    int           `json:"fails"`               // failed attempts; 0 never takes it out
	Within   time.Duration `json:"within_ns,omitempty"` // in which FailuresInWindow counts them
	Out      time.Duration `json:"out_ns,omitempty"`    // how long it is out, where Ends is EndsByTime
	Ends     EjectionEnd   `json:"ends"`
	Then     EjectionStep  `json:"then"`
	Source   string        `json:"source,omitempty"` // Fails and Out where they are defaults
}

// EjectionLaw is how failed attempts are counted.
type EjectionLaw string

// The laws of ejection.
const (
	// FailuresInWindow: Fails of them, until a good answer comes more than Within after the last. The clock counts
	// whole seconds, so that Out lasts up to one more; then one attempt tells whether it lasts again (nginx:
	// ngx_http_upstream_round_robin.c).
	FailuresInWindow EjectionLaw = "failures in a window"
	// ConsecutiveErrors: Fails in a row, of which a good answer begins a new one (HAProxy: observe; Traefik:
	// passiveHealthCheck).
	ConsecutiveErrors EjectionLaw = "consecutive errors"
)

// EjectionEnd is what brings a server back.
type EjectionEnd string

// The ends of an ejection.
const (
	EndsByTime   EjectionEnd = "time"          // Out is over
	EndsByChecks EjectionEnd = "health checks" // as many as Active.Rise passed
)

// EjectionStep is what becomes of a server whose requests failed often enough.
type EjectionStep string

// What becomes of it (but for the first, HAProxy's on-error).
const (
	StepOut    EjectionStep = "out"             // it is out of rotation
	StepFails  EjectionStep = "failed check"    // as after one more failed health check
	StepDoubts EjectionStep = "faster checks"   // its health checks come as fast as in doubt
	StepBrink  EjectionStep = "last check left" // one failed health check takes it out
)

// Alike reports whether two servers are taken out by the same failures, and for as long.
func (e Ejection) Alike(o Ejection) bool {
	sameLaw := e.Law == o.Law && e.Then == o.Then
	sameFailures := e.Fails == o.Fails && e.On.equal(o.On)
	sameTimes := e.Within == o.Within && e.Out == o.Out
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
	CauseBroken    Cause = "the connection ended without an answer"
	CauseSilence   Cause = "the server was silent for too long"
	CauseMalformed Cause = "the answer is no HTTP"
	CauseEarlyData Cause = "the server refused early data"
	CauseOther     Cause = "something that lbproof does not know"
)

// Has reports whether a cause counts.
func (f Failures) Has(c Cause) bool { return slices.Contains(f.Causes, c) }

// HasStatus reports whether an answer with a status counts.
func (f Failures) HasStatus(code int) bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.Has(code) })
}

// HasErrors reports whether answers of a server that says it is in trouble count (RFC 9110, section 15.6).
func (f Failures) HasErrors() bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.To >= 500 })
}

// Seen reports whether failures count that come after the server has got the request.
func (f Failures) Seen() bool {
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
