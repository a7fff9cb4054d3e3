package model

import (
	"slices"
	"time"
)

// Unlimited is a number of attempts without a limit of its own.
const Unlimited = -1

// Retry sends a request that failed again.
type Retry struct {
	Pos      Pos            `json:"pos"`
	Implicit bool           `json:"implicit,omitempty"`
	Failures Failures       `json:"failures"`
	Attempts int            `json:"attempts"`             // in all; Unlimited: as many as there are servers
	Timeout  time.Duration  `json:"timeout_ns,omitempty"` // no attempt begins later; 0: no such limit
	Backoff  Backoff        `json:"backoff"`              // before the next attempt
	Delay    time.Duration  `json:"delay_ns,omitempty"`   // of the waits; 0 where there are none
	Next     NextServer     `json:"next"`
	Methods  RetriedMethods `json:"methods"`
}

// Backoff is how long a request waits before its next attempt.
type Backoff string

// The laws of waiting.
const (
	NoBackoff Backoff = "none"
	// FixedBackoff: Each before every attempt at the same server. Where that is found dead meanwhile the request waits on,
	// and tries it once more (HAProxy: back.c, back_handle_st_cer).
	FixedBackoff Backoff = "fixed"
	// ExponentialBackoff: by chance 0.5 to 1.5 times Each, longer every time (Traefik: retry.go; cenkalti/backoff's
	// ExponentialBackOff).
	ExponentialBackoff Backoff = "exponential"
)

// NextServer is where the next attempt goes.
type NextServer string

// The servers that may be next.
const (
	// NextSame: where the balancing sends the request again, or to the same (HAProxy without redispatch)
	NextSame NextServer = "the same"
	// NextOtherOnLast: the same, and another for the last attempt; where servers take turns another at once (HAProxy:
	// redispatch)
	NextOtherOnLast NextServer = "another at last"
	NextOther       NextServer = "another"          // one that the request has not tried (nginx)
	NextInRotation  NextServer = "next in rotation" // which may be the same one (Traefik)
)

// RetriedMethods is which methods are tried again once the server may have got the request.
type RetriedMethods string

// The laws of methods.
const (
	AllMethods RetriedMethods = "all" // POST too, so that it may be carried out twice
	// IdempotentMethods: all but POST, LOCK and PATCH (nginx: proxy_next_upstream without non_idempotent)
	IdempotentMethods RetriedMethods = "idempotent"
	// GetMethods: GET; of others a condition decides that lbproof does not read (HAProxy: disable-l7-retry)
	GetMethods RetriedMethods = "GET"
	NoMethods  RetriedMethods = "none" // a request that was sent is not sent again
)

// MayChangeServer reports whether an attempt may go to another server than the one before.
func (t Retry) MayChangeServer() bool { return t.Next != NextSame }

// KeepsServer reports whether the next attempt may be at the same server because the request is meant for that one, and not
// because its turn has come.
func (t Retry) KeepsServer() bool { return t.Next == NextSame || t.Next == NextOtherOnLast }

// RetriesMethod reports whether a method is tried again once the server may have got the request.
func (t Retry) RetriesMethod(method string) bool {
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
