package plan

import "slices"

// PhaseKind is what a designed phase is for. The phases of a plan are in the order of their kinds: what disturbs others
// comes after them. The zero value is that of phases that a scenario's author wrote.
type PhaseKind string

// The kinds of designed phases. Their texts begin the titles of phases.
const (
	KindConnections      PhaseKind = "connections"        // connections to backends are counted, of which there are none before
	KindRotation         PhaseKind = "rotation"           // every server of a pool takes turns
	KindSequential       PhaseKind = "sequential"         // nobody is busy when a server is chosen
	KindSampling         PhaseKind = "sampling"           // a server is drawn for each request
	KindKeys             PhaseKind = "keys"               // a key decides
	KindMirroring        PhaseKind = "mirroring"          // requests are copied to other servers
	KindSessions         PhaseKind = "sessions"           // clients keep their cookies
	KindBusy             PhaseKind = "busy"               // servers have requests in flight
	KindSaturation       PhaseKind = "saturation"         // more at a time than servers may be given
	KindOverload         PhaseKind = "overload"           // more than a limit allows, each limit by clients of its own
	KindReload           PhaseKind = "reload"             // the balancer takes over its configuration meanwhile
	KindCounters         PhaseKind = "counters"           // a page of counters is asked before and after other requests
	KindProbes           PhaseKind = "single requests"    // single requests of which each is a case of its own
	KindBreakerClosed    PhaseKind = "breaker closed"     // a breaker sees good answers
	KindBreakerTripping  PhaseKind = "breaker tripping"   // backends answer with errors for so long that a breaker trips
	KindBreakerRecovery  PhaseKind = "breaker recovery"   // and are well again
	KindRefusals         PhaseKind = "refusals"           // more than a limit allows, to see what a refusal looks like
	KindOutages          PhaseKind = "outages"            // servers are killed under traffic, and come back
	KindSlowHealthChecks PhaseKind = "slow health checks" // health checks are answered late, once in time and once not
	KindAddressChanges   PhaseKind = "address changes"    // servers have other addresses for a time
	KindTimeouts         PhaseKind = "timeouts"           // somebody keeps silent until the balancer gives up
	KindFailures         PhaseKind = "failures"           // backends answer with errors, after which a balancer may leave them alone
	KindErrors           PhaseKind = "errors"             // and are asked one after another
	KindNoResponse       PhaseKind = "no response"        // backends do not answer, after which it will
	KindUnreachable      PhaseKind = "unreachable"        // servers cannot be connected to
	KindBackups          PhaseKind = "backups"            // all primary servers die at once
	KindAllDown          PhaseKind = "all down"           // and their backups with them
)

// phaseKinds are in the order of their phases.
var phaseKinds = []PhaseKind{
	KindConnections, KindRotation, KindSequential, KindSampling, KindKeys, KindMirroring, KindSessions, KindBusy, KindSaturation,
	KindOverload, KindReload, KindCounters, KindProbes, KindBreakerClosed, KindBreakerTripping, KindBreakerRecovery, KindRefusals,
	KindOutages, KindSlowHealthChecks, KindAddressChanges, KindTimeouts, KindFailures, KindErrors, KindNoResponse, KindUnreachable,
	KindBackups, KindAllDown,
}

// Order is the place of a kind among the phases of a plan; -1 for one that is not designed.
func (k PhaseKind) Order() int { return slices.Index(phaseKinds, k) }

// Title is the name of a phase of the kind that is about something: a claim, a pool, a rate.
func (k PhaseKind) Title(about string) string {
	if about == "" {
		return string(k)
	}
	return string(k) + " " + about
}
