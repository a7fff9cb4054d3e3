package model

import (
	"reflect"
	"time"
)

// HealthCheck takes a server out of rotation by health checks.
type HealthCheck struct {
	Pos           Pos               `json:"pos"`
	Request       HealthRequest     `json:"request"`
	Expect        HealthExpectation `json:"expect,omitzero"`
	Interval      time.Duration     `json:"interval_ns"`
	FastInterval  time.Duration     `json:"fast_interval_ns"` // interval while the state is in doubt
	DownInterval  time.Duration     `json:"down_interval_ns"` // interval while it is down
	Timeout       time.Duration     `json:"timeout_ns"`       // of one check
	TimeoutScope  TimeoutScope      `json:"timeout_scope"`    // what Timeout is the time for
	Fall          int               `json:"fall"`
	Rise          int               `json:"rise"`
	Implicit      []string          `json:"implicit,omitempty"`       // which of these are defaults
	CheckedBefore int               `json:"checked_before,omitempty"` // servers that are checked before it, one after another
	Jitter        bool              `json:"jitter,omitempty"`         // chance makes intervals shorter or longer
}

// TimeoutScope is what of a health check a timeout is the time for.
type TimeoutScope string

// The laws of timeouts.
const (
	TimeoutOfCheck TimeoutScope = "the whole check" // from its beginning to the end of the answer
	// TimeoutOfResponse: since the connection was made, for which there is a time of its own (HAProxy: timeout check)
	TimeoutOfResponse TimeoutScope = "the answer"
)

// HealthRequest is what a health check asks; the zero value is a connection.
type HealthRequest struct {
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
}

// String is as "GET /health".
func (r HealthRequest) String() string {
	if r.Method == "" {
		return "a connection"
	}
	return r.Method + " " + r.Path
}

// HealthExpectation is what a health check takes for well.
type HealthExpectation struct {
	Statuses StatusRange `json:"statuses,omitzero"` // the zero value: whatever Source says, which is not read
	Source   string      `json:"source,omitempty"`
}

// Accepts reports whether an answer with a status is known to be taken for well.
func (a HealthExpectation) Accepts(code int) bool {
	return a.Statuses != StatusRange{} && a.Statuses.Has(code)
}

// String is as "a status from 200 to 399"; empty where nothing is expected but a connection.
func (a HealthExpectation) String() string {
	if a.Statuses != (StatusRange{}) {
		return a.Statuses.String()
	}
	return a.Source
}

// DetectionTime is the interval from a server's death to its leaving the rotation, where a check fails at once, and at the
// latest where it hangs. Source: HAProxy's check.c; Traefik checks one target after another.
func (a HealthCheck) DetectionTime() (soonest, refused, hanging time.Duration) {
	soonest = time.Duration(a.Fall-1) * a.FastInterval
	refused = soonest + a.Interval
	return soonest, refused, refused + time.Duration(a.Fall+a.CheckedBefore)*a.Timeout
}

// RecoveryTime is the interval from a server's recovery to its return.
func (a HealthCheck) RecoveryTime() (soonest, latest time.Duration) {
	soonest = time.Duration(a.Rise-1) * a.FastInterval
	return soonest, soonest + a.DownInterval
}

// Equivalent reports whether two servers are checked alike, one after the other or not.
func (a HealthCheck) Equivalent(b HealthCheck) bool {
	a.Pos, a.CheckedBefore, b.Pos, b.CheckedBefore = Pos{}, 0, Pos{}, 0
	return reflect.DeepEqual(a, b)
}
