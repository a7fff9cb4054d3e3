package model

import (
	"reflect"
	"time"
)

// HealthCheck is how the balancer probes a server and takes it out of rotation.
type HealthCheck struct {
	Pos           Pos               `json:"pos"`
	Request       HealthRequest     `json:"request"`
	Expect        HealthExpectation `json:"expect,omitzero"`
	Interval      time.Duration     `json:"interval_ns"`
	FastInterval  time.Duration     `json:"fast_interval_ns"` // while the state is changing
	DownInterval  time.Duration     `json:"down_interval_ns"` // while the server is down
	Timeout       time.Duration     `json:"timeout_ns"`       // of one check
	TimeoutScope  TimeoutScope      `json:"timeout_scope"`    // what Timeout covers
	Fall          int               `json:"fall"`
	Rise          int               `json:"rise"`
	Implicit      []string          `json:"implicit,omitempty"`       // which of these are defaults
	CheckedBefore int               `json:"checked_before,omitempty"` // servers checked before this one, one after another
	Jitter        bool              `json:"jitter,omitempty"`         // intervals vary randomly
}

// TimeoutScope is the part of a health check that its timeout covers.
type TimeoutScope string

// The scopes.
const (
	TimeoutOfCheck TimeoutScope = "the whole check" // from its start to the end of the response
	// TimeoutOfResponse starts once connected; connecting has its own timeout (HAProxy: timeout check)
	TimeoutOfResponse TimeoutScope = "the response"
)

// HealthRequest is what a health check sends; the zero value only connects.
type HealthRequest struct {
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
}

// String returns the request line, as "GET /health".
func (r HealthRequest) String() string {
	if r.Method == "" {
		return "TCP connection"
	}
	return r.Method + " " + r.Path
}

// HealthExpectation is the response that a health check accepts.
type HealthExpectation struct {
	Statuses StatusRange `json:"statuses,omitzero"` // zero: only Source describes it
	Source   string      `json:"source,omitempty"`
}

// Accepts reports whether a response with a status is known to be accepted.
func (a HealthExpectation) Accepts(code int) bool {
	return a.Statuses != StatusRange{} && a.Statuses.Has(code)
}

// String returns "status 200–399"; "" if only a connection is expected.
func (a HealthExpectation) String() string {
	if a.Statuses != (StatusRange{}) {
		return a.Statuses.String()
	}
	return a.Source
}

// DetectionTime returns the time from an outage to leaving the rotation: at the earliest, at the latest if connections
// are refused, and at the latest if they hang. Source: HAProxy's check.c; Traefik checks one target after another.
func (a HealthCheck) DetectionTime() (soonest, refused, hanging time.Duration) {
	soonest = time.Duration(a.Fall-1) * a.FastInterval
	refused = soonest + a.Interval
	return soonest, refused, refused + time.Duration(a.Fall+a.CheckedBefore)*a.Timeout
}

// RecoveryTime returns the time from a server's recovery to its return to rotation.
func (a HealthCheck) RecoveryTime() (soonest, latest time.Duration) {
	soonest = time.Duration(a.Rise-1) * a.FastInterval
	return soonest, soonest + a.DownInterval
}

// Equivalent reports whether two health checks are the same but for their place in the queue.
func (a HealthCheck) Equivalent(b HealthCheck) bool {
	a.Pos, a.CheckedBefore, b.Pos, b.CheckedBefore = Pos{}, 0, Pos{}, 0
	return reflect.DeepEqual(a, b)
}
