package check

import (
	"slices"
	"strings"
)

// Kinds of trials, in the order of their phases: what disturbs others comes after them.
const (
	Kept      = "connections"   // connections to backends are counted, of which there are none before
	Turns     = "turns"         // every server of a pool takes turns
	Singly    = "one at a time" // nobody is busy when a server is chosen
	Drawn     = "draws"         // a server is drawn for each request
	Keyed     = "keys"          // a key decides
	Copied    = "copies"        // requests are copied to other servers
	Sessions  = "sessions"      // clients keep their cookies
	Busy      = "busy"          // servers have requests in flight
	Crowd     = "crowd"         // more at a time than servers may be given
	Overload  = "overload"      // more than a limit allows, each limit by clients of its own
	Reloaded  = "reload"        // the balancer takes over its configuration meanwhile
	Asked     = "questions"     // single requests of which each is a case of its own
	Deaths    = "deaths"        // servers are killed under traffic, and come back
	Ailing    = "slow checks"   // health checks are answered late, once in time and once not
	Elsewhere = "moves"         // servers have other addresses for a time
	Calm      = "calm"          // a breaker sees good answers
	Tripping  = "tripping"      // backends answer with errors for so long that a breaker trips
	Tripped   = "tripped"       // and are well again
	Counted   = "counters"      // a page of counters is asked before and after other requests
	Refused   = "refusals"      // more than a limit allows, to see what a refusal looks like
	Waited    = "waits"         // somebody keeps silent until the balancer gives up
	Spoilt    = "failures"      // backends answer with errors, after which a balancer may leave them alone
	Spread    = "errors"        // and are asked one after another
	Severed   = "broken"        // backends do not answer, after which it will
	Vanished  = "vanished"      // servers cannot be connected to
	Backups   = "backups"       // all primary servers die at once
	Forsaken  = "nobody left"   // and their backups with them
)

// Kinds are in the order of their phases.
var Kinds = []string{Kept, Turns, Singly, Drawn, Keyed, Copied, Sessions, Busy, Crowd, Overload, Reloaded, Counted, Asked, Calm, Tripping, Tripped, Refused, Deaths, Ailing, Elsewhere, Waited, Spoilt, Spread, Severed, Vanished, Backups, Forsaken}

// Order is the place of a kind, which may be followed by what it is about.
func Order(kind string) int {
	return slices.IndexFunc(Kinds, func(k string) bool { return kind == k || strings.HasPrefix(kind, k+" ") })
}
