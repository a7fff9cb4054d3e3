package plan

import "slices"

// Kind is what a designed phase is for. The phases of a plan are in the order of their kinds: what disturbs others
// comes after them. The zero value is that of phases that a scenario's author wrote.
type Kind string

// The kinds of designed phases. Their texts begin the titles of phases.
const (
	KindConnections Kind = "connections"   // connections to backends are counted, of which there are none before
	KindTurns       Kind = "turns"         // every server of a pool takes turns
	KindSerial      Kind = "one at a time" // nobody is busy when a server is chosen
	KindDraws       Kind = "draws"         // a server is drawn for each request
	KindKeys        Kind = "keys"          // a key decides
	KindCopies      Kind = "copies"        // requests are copied to other servers
	KindSessions    Kind = "sessions"      // clients keep their cookies
	KindBusy        Kind = "busy"          // servers have requests in flight
	KindCrowd       Kind = "crowd"         // more at a time than servers may be given
	KindOverload    Kind = "overload"      // more than a limit allows, each limit by clients of its own
	KindReload      Kind = "reload"        // the balancer takes over its configuration meanwhile
	KindCounters    Kind = "counters"      // a page of counters is asked before and after other requests
	KindQuestions   Kind = "questions"     // single requests of which each is a case of its own
	KindCalm        Kind = "calm"          // a breaker sees good answers
	KindTripping    Kind = "tripping"      // backends answer with errors for so long that a breaker trips
	KindTripped     Kind = "tripped"       // and are well again
	KindRefusals    Kind = "refusals"      // more than a limit allows, to see what a refusal looks like
	KindDeaths      Kind = "deaths"        // servers are killed under traffic, and come back
	KindSlowChecks  Kind = "slow checks"   // health checks are answered late, once in time and once not
	KindMoves       Kind = "moves"         // servers have other addresses for a time
	KindWaits       Kind = "waits"         // somebody keeps silent until the balancer gives up
	KindFailures    Kind = "failures"      // backends answer with errors, after which a balancer may leave them alone
	KindErrors      Kind = "errors"        // and are asked one after another
	KindBroken      Kind = "broken"        // backends do not answer, after which it will
	KindVanished    Kind = "vanished"      // servers cannot be connected to
	KindBackups     Kind = "backups"       // all primary servers die at once
	KindNobodyLeft  Kind = "nobody left"   // and their backups with them
)

// kinds are in the order of their phases.
var kinds = []Kind{
	KindConnections, KindTurns, KindSerial, KindDraws, KindKeys, KindCopies, KindSessions, KindBusy, KindCrowd,
	KindOverload, KindReload, KindCounters, KindQuestions, KindCalm, KindTripping, KindTripped, KindRefusals,
	KindDeaths, KindSlowChecks, KindMoves, KindWaits, KindFailures, KindErrors, KindBroken, KindVanished,
	KindBackups, KindNobodyLeft,
}

// Order is the place of a kind among the phases of a plan; -1 for one that is not designed.
func (k Kind) Order() int { return slices.Index(kinds, k) }

// Title is the name of a phase of the kind that is about something: a claim, a pool, a rate.
func (k Kind) Title(about string) string {
	if about == "" {
		return string(k)
	}
	return string(k) + " " + about
}
