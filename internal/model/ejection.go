package model

import (
	"fmt"
	"slices"
	"time"
)

// Ejection takes a server out of rotation because requests to it fail.
type Ejection struct {
	Pos      Pos            `json:"pos"`
	Implicit bool           `json:"implicit,omitempty"`
	Rule     EjectionRule   `json:"rule"`
	Failures Failures       `json:"failures"`              // what counts as a failed attempt
	MaxFails int            `json:"max_fails"`             // 0: never ejected
	Window   time.Duration  `json:"window_ns,omitempty"`   // of FailuresInWindow
	Duration time.Duration  `json:"duration_ns,omitempty"` // if EndedByTime
	EndedBy  EjectionEnd    `json:"ended_by"`
	Action   EjectionAction `json:"action"`
	Source   string         `json:"source,omitempty"` // MaxFails and Duration, if they are defaults
}

// EjectionRule is how failed attempts are counted.
type EjectionRule string

// The ejection rules.
const (
	// FailuresInWindow: MaxFails failures, until a success comes more than Window after the last. The clock counts
	// whole seconds, so that the ejection lasts up to one second more; then a single attempt decides whether it is
	// repeated (nginx: ngx_http_upstream_round_robin.c).
	FailuresInWindow EjectionRule = "failures in a window"
	// ConsecutiveErrors: MaxFails failures without a success between them (HAProxy: observe; Traefik:
	// passiveHealthCheck).
	ConsecutiveErrors EjectionRule = "consecutive errors"
)

// EjectionEnd is what ends an ejection.
type EjectionEnd string

// The ways in which an ejection ends.
const (
	EndedByTime         EjectionEnd = "time"          // after Duration
	EndedByHealthChecks EjectionEnd = "health checks" // HealthCheck.Rise of them passed
)

// EjectionAction is what happens to a server after MaxFails failures.
type EjectionAction string

// The actions; all but the first are HAProxy's (on-error).
const (
	ActionEject        EjectionAction = "out"             // out of rotation
	ActionFailCheck    EjectionAction = "failed check"    // counts as one failed health check
	ActionFastChecks   EjectionAction = "faster checks"   // health checks come at FastInterval
	ActionOneCheckLeft EjectionAction = "last check left" // one failed health check ejects it
)

// Equivalent reports whether two ejections have the same rule, failures and duration.
func (e Ejection) Equivalent(o Ejection) bool {
	sameLaw := e.Rule == o.Rule && e.Action == o.Action
	sameFailures := e.MaxFails == o.MaxFails && e.Failures.equal(o.Failures)
	sameTimes := e.Window == o.Window && e.Duration == o.Duration
	return sameLaw && sameFailures && sameTimes
}

// Failures are what counts as a failed attempt.
type Failures struct {
	Causes   []Cause       `json:"causes,omitempty"`
	Statuses []StatusRange `json:"statuses,omitempty"` // of responses that count as failures
	Source   string        `json:"source,omitempty"`   // as configured, or the default
}

// Cause is why an attempt got no response.
type Cause string

// The causes.
const (
	CauseConnect   Cause = "connection failed"
	CauseClosed    Cause = "connection closed without a response"
	CauseTimeout   Cause = "response timed out"
	CauseMalformed Cause = "malformed response"
	CauseEarlyData Cause = "early data rejected"
	CauseOther     Cause = "unknown"
)

// HasCause reports whether a cause counts.
func (f Failures) HasCause(c Cause) bool { return slices.Contains(f.Causes, c) }

// HasStatus reports whether a response with a status counts.
func (f Failures) HasStatus(code int) bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.Has(code) })
}

// HasServerErrors reports whether any 5xx response counts (RFC 9110, section 15.6).
func (f Failures) HasServerErrors() bool {
	return slices.ContainsFunc(f.Statuses, func(r StatusRange) bool { return r.To >= 500 })
}

// CoversSentRequests reports whether failures count after the request has been sent to the server.
func (f Failures) CoversSentRequests() bool {
	return len(f.Statuses) > 0 || slices.ContainsFunc(f.Causes, func(c Cause) bool { return c != CauseConnect })
}

func (f Failures) equal(o Failures) bool {
	return slices.Equal(f.Causes, o.Causes) && slices.Equal(f.Statuses, o.Statuses)
}

// StatusRange is a range of status codes, both ends included.
type StatusRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// Status returns the range of a single status.
func Status(code int) StatusRange { return StatusRange{From: code, To: code} }

// Has reports whether a status is in the range.
func (r StatusRange) Has(code int) bool { return code >= r.From && code <= r.To }

// String returns "status 200" or "status 200–399".
func (r StatusRange) String() string {
	if r.From == r.To {
		return fmt.Sprintf("status %d", r.From)
	}
	return fmt.Sprintf("status %d–%d", r.From, r.To)
}
