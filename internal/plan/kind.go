package plan

import "slices"

// PhaseKind is the purpose of a designed phase. The phases of a plan are in the order of their kinds: those that
// disturb others come last. The zero value is the kind of phases written in a scenario.
type PhaseKind string

// The kinds of designed phases. Phase titles begin with them.
const (
	KindConnections      PhaseKind = "connections"        // counts connections to backends, from zero
	KindRotation         PhaseKind = "rotation"           // every server of a pool gets requests in rotation
	KindSequential       PhaseKind = "sequential"         // one request in flight, so that all servers are idle
	KindSampling         PhaseKind = "sampling"           // servers chosen at random
	KindKeys             PhaseKind = "keys"               // servers chosen by a key
	KindMirroring        PhaseKind = "mirroring"          // requests copied to other servers
	KindSessions         PhaseKind = "sessions"           // clients that keep their cookies
	KindBusy             PhaseKind = "busy"               // servers with requests in flight
	KindSaturation       PhaseKind = "saturation"         // more requests in flight than servers may get
	KindOverload         PhaseKind = "overload"           // more than a limit allows, with separate clients per limit
	KindReload           PhaseKind = "reload"             // the balancer reloads its configuration
	KindCounters         PhaseKind = "counters"           // reads counters before and after other requests
	KindProbes           PhaseKind = "single requests"    // single requests, each with an expected response
	KindBreakerClosed    PhaseKind = "breaker closed"     // successful responses under a circuit breaker
	KindBreakerTripping  PhaseKind = "breaker tripping"   // error responses until the circuit breaker trips
	KindBreakerRecovery  PhaseKind = "breaker recovery"   // successful responses afterwards
	KindRefusals         PhaseKind = "refusals"           // more than a limit allows, to see the refusal
	KindOutages          PhaseKind = "outages"            // servers are killed under traffic and recover
	KindSlowHealthChecks PhaseKind = "slow health checks" // late responses to health checks, in time and too late
	KindAddressChanges   PhaseKind = "address changes"    // servers have other addresses for some time
	KindTimeouts         PhaseKind = "timeouts"           // a client or server stalls until the balancer gives up
	KindFailures         PhaseKind = "failures"           // error responses, which may eject servers
	KindErrors           PhaseKind = "errors"             // error responses to one request after another
	KindNoResponse       PhaseKind = "no response"        // no responses, which ejects servers
	KindUnreachable      PhaseKind = "unreachable"        // servers that accept no connections
	KindBackups          PhaseKind = "backups"            // outage of all primary servers
	KindAllDown          PhaseKind = "all down"           // outage of all servers
)

// phaseKinds are in the order of phases.
var phaseKinds = []PhaseKind{
	KindConnections, KindRotation, KindSequential, KindSampling, KindKeys, KindMirroring, KindSessions, KindBusy,
	KindSaturation, KindOverload, KindReload, KindCounters, KindProbes, KindBreakerClosed, KindBreakerTripping,
	KindBreakerRecovery, KindRefusals, KindOutages, KindSlowHealthChecks, KindAddressChanges, KindTimeouts,
	KindFailures, KindErrors, KindNoResponse, KindUnreachable,
	KindBackups, KindAllDown,
}

// Order returns the position of a kind among the phases of a plan, or -1 for phases that are not designed.
func (k PhaseKind) Order() int { return slices.Index(phaseKinds, k) }

// Title returns the name of a phase of the kind about a claim, a pool or a rate.
func (k PhaseKind) Title(about string) string {
	if about == "" {
		return string(k)
	}
	return string(k) + " " + about
}
