package model

import (
	"slices"
	"time"
)

// Unlimited is a number of attempts without a limit of its own.
const Unlimited = -1

// Retry sends a request that failed again.
type Retry struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	On       Failures      `json:"on"`
	Attempts int           `json:"attempts"`            // in all; Unlimited: as many as there are servers
	Within   time.Duration `json:"within_ns,omitempty"` // no attempt begins later; 0: no such limit
	Wait     WaitLaw       `json:"wait"`                // before the next attempt
	Each     time.Duration `json:"each_ns,omitempty"`   // of the waits; 0 where there are none
	Next     NextServer    `json:"next"`
	Methods  MethodLaw     `json:"methods"`
}

// WaitLaw is how long a request waits before its next attempt.
type WaitLaw string

// The laws of waiting.
const (
	NoWait WaitLaw = "none"
	// FixedWait: Each before every attempt at the same server. Where that is found dead meanwhile the request waits on,
	// and tries it once more (HAProxy: back.c, back_handle_st_cer).
	FixedWait WaitLaw = "fixed"
	// ExponentialWait: by chance 0.5 to 1.5 times Each, longer every time (Traefik: retry.go; cenkalti/backoff's
	// ExponentialBackOff).
	ExponentialWait WaitLaw = "exponential"
)

// NextServer is where the next attempt goes.
type NextServer string

// The servers that may be next.
const (
	// NextSame: where the balancing sends the request again, or to the same (HAProxy without redispatch)
	NextSame NextServer = "the same"
	// NextAtLast: the same, and another for the last attempt; where servers take turns another at once (HAProxy:
	// redispatch)
	NextAtLast NextServer = "another at last"
	NextOther  NextServer = "another"          // one that the request has not tried (nginx)
	NextTurn   NextServer = "whose turn it is" // which may be the same one (Traefik)
)

// MethodLaw is which methods are tried again once the server may have got the request.
type MethodLaw string

// The laws of methods.
const (
	AllMethods MethodLaw = "all" // POST too, so that it may be carried out twice
	// IdempotentMethods: all but POST, LOCK and PATCH (nginx: proxy_next_upstream without non_idempotent)
	IdempotentMethods MethodLaw = "idempotent"
	// GetMethods: GET; of others a condition decides that lbproof does not read (HAProxy: disable-l7-retry)
	GetMethods MethodLaw = "GET"
	NoMethods  MethodLaw = "none" // a request that was sent is not sent again
)

// Elsewhere reports whether an attempt may go to another server than the one before.
func (t Retry) Elsewhere() bool { return t.Next != NextSame }

// Stays reports whether the next attempt may be at the same server because the request is meant for that one, and not
// because its turn has come.
func (t Retry) Stays() bool { return t.Next == NextSame || t.Next == NextAtLast }

// Repeats reports whether a method is tried again once the server may have got the request.
func (t Retry) Repeats(method string) bool {
	switch t.Methods {
	case AllMethods:
		return true
	case IdempotentMethods:
		return !slices.Contains([]string{"POST", "LOCK", "PATCH"}, method)
	case GetMethods:
		return method == "GET"
	}
	return false
}
