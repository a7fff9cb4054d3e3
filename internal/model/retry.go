package model

import (
	"slices"
	"time"
)

// Unlimited is the number of attempts if there is no limit.
const Unlimited = -1

// Retry sends a failed request again.
type Retry struct {
	Pos      Pos            `json:"pos"`
	Implicit bool           `json:"implicit,omitempty"`
	Failures Failures       `json:"failures"`
	Attempts int            `json:"attempts"`             // including the first; Unlimited: one per server
	Timeout  time.Duration  `json:"timeout_ns,omitempty"` // no attempt starts later; 0: no limit
	Backoff  Backoff        `json:"backoff"`              // before the next attempt
	Delay    time.Duration  `json:"delay_ns,omitempty"`   // of Backoff; 0 for NoBackoff
	Next     NextServer     `json:"next"`
	Methods  RetriedMethods `json:"methods"`
}

// Backoff is how long a request waits before its next attempt.
type Backoff string

// The backoffs.
const (
	NoBackoff Backoff = "none"
	// FixedBackoff waits Delay before every attempt at the same server. If that is found down meanwhile, the request
	// keeps waiting and tries it once more (HAProxy: back.c, back_handle_st_cer).
	FixedBackoff Backoff = "fixed"
	// ExponentialBackoff waits a random 0.5 to 1.5 times Delay, longer with each attempt (Traefik: retry.go;
	// cenkalti/backoff's ExponentialBackOff).
	ExponentialBackoff Backoff = "exponential"
)

// NextServer is where the next attempt goes.
type NextServer string

// The choices of the next server.
const (
	// NextSame is the same server, or the one the balancing picks again (HAProxy without redispatch)
	NextSame NextServer = "the same"
	// NextOtherOnLast is the same server, and another for the last attempt; with round robin another from the start
	// (HAProxy: redispatch)
	NextOtherOnLast NextServer = "another at last"
	NextOther       NextServer = "another"          // not tried yet (nginx)
	NextInRotation  NextServer = "next in rotation" // may be the same (Traefik)
)

// RetriedMethods are the methods that are retried although the server may have received the request.
type RetriedMethods string

// The sets of methods.
const (
	AllMethods RetriedMethods = "all" // including POST, which may then be executed twice
	// IdempotentMethods are all but POST, LOCK and PATCH (nginx: proxy_next_upstream without non_idempotent)
	IdempotentMethods RetriedMethods = "idempotent"
	// GetMethods is GET; for others a condition decides that lbproof does not read (HAProxy: disable-l7-retry)
	GetMethods RetriedMethods = "GET"
	NoMethods  RetriedMethods = "none" // a request that was sent is not retried
)

// MayChangeServer reports whether an attempt may go to another server than the previous one.
func (t Retry) MayChangeServer() bool { return t.Next != NextSame }

// KeepsServer reports whether the next attempt may stay on the same server by design, not by rotation.
func (t Retry) KeepsServer() bool { return t.Next == NextSame || t.Next == NextOtherOnLast }

// RetriesMethod reports whether a method is retried although the server may have received the request.
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
