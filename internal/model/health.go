package model

import (
	"reflect"
	"time"
)

// Active takes a server out of rotation by health checks.
type Active struct {
	Pos      Pos           `json:"pos"`
	Request  HealthRequest `json:"request"`
	Expect   HealthAnswer  `json:"expect,omitzero"`
	Interval time.Duration `json:"interval_ns"`
	Fast     time.Duration `json:"fast_ns"`    // interval while the state is in doubt
	Slow     time.Duration `json:"slow_ns"`    // interval while it is down
	Timeout  time.Duration `json:"timeout_ns"` // of one check
	Times    TimeoutLaw    `json:"times"`      // what Timeout is the time for
	Fall     int           `json:"fall"`
	Rise     int           `json:"rise"`
	Implicit []string      `json:"implicit,omitempty"` // which of these are defaults
	Queued   int           `json:"queued,omitempty"`   // servers that are checked before it, one after another
	Varies   bool          `json:"varies,omitempty"`   // chance makes intervals shorter or longer
}

// TimeoutLaw is what of a health check a timeout is the time for.
type TimeoutLaw string

// The laws of timeouts.
const (
	TimesCheck TimeoutLaw = "the whole check" // from its beginning to the end of the answer
	// TimesAnswer: since the connection was made, for which there is a time of its own (HAProxy: timeout check)
	TimesAnswer TimeoutLaw = "the answer"
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

// HealthAnswer is what a health check takes for well.
type HealthAnswer struct {
	Statuses StatusRange `json:"statuses,omitzero"` // the zero value: whatever Source says, which is not read
	Source   string      `json:"source,omitempty"`
}

// Has reports whether an answer with a status is known to be taken for well.
func (a HealthAnswer) Has(code int) bool { return a.Statuses != StatusRange{} && a.Statuses.Has(code) }

// String is as "a status from 200 to 399"; empty where nothing is expected but a connection.
func (a HealthAnswer) String() string {
	if a.Statuses != (StatusRange{}) {
		return a.Statuses.String()
	}
	return a.Source
}

// Down is the interval from a server's death to its leaving the rotation, where a check fails at once, and at the
// latest where it hangs. Source: HAProxy's check.c; Traefik checks one target after another.
func (a Active) Down() (soonest, refused, hanging time.Duration) {
	soonest = time.Duration(a.Fall-1) * a.Fast
	refused = soonest + a.Interval
	return soonest, refused, refused + time.Duration(a.Fall+a.Queued)*a.Timeout
}

// Up is the interval from a server's recovery to its return.
func (a Active) Up() (soonest, latest time.Duration) {
	soonest = time.Duration(a.Rise-1) * a.Fast
	return soonest, soonest + a.Slow
}

// Alike reports whether two servers are checked alike, one after the other or not.
func (a Active) Alike(b Active) bool {
	a.Pos, a.Queued, b.Pos, b.Queued = Pos{}, 0, Pos{}, 0
	return reflect.DeepEqual(a, b)
}
