package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// Requirement is the traffic or outage that a claim needs to be decided.
type Requirement struct {
	// Requirements of the same Kind and About can share a phase, in which their requests alternate.
	Kind  plan.PhaseKind
	About string     // a claim, a pool or a rate; empty: all requirements of the kind can share a phase
	Phase plan.Phase // Requests of one claim, and Count for them; Name is unused
	// Isolated requirements have one request and clients of their own: in a shared phase, their clients, rate and requests
	// are added to those of the others.
	Isolated bool
	// SlowServers delay every response during the phase.
	SlowServers []SlowServer
	// Unreachable lists servers that no packet reaches during the phase.
	Unreachable []string
	// Outages lists servers that go down and come back, one after another.
	Outages []string
	// AllDown lists servers that go down at the same time.
	AllDown    []string
	AllDownFor time.Duration // minimum
	// LateChecks lists periods of late responses to health checks, one after another.
	LateChecks []LateHealthChecks
	// MovedHost is a server that temporarily has another address.
	MovedHost string
	MovedFor  time.Duration
	// ReloadAt is when the balancer reloads, since the start of the phase; 0: never.
	ReloadAt time.Duration
	// Detects is what the traffic would reveal: a noun phrase without a full stop.
	Detects string
}

// SlowServer delays every response of a server.
type SlowServer struct {
	Host  string
	Delay time.Duration
}

// LateHealthChecks delays a server's responses to health checks for some time, after which it is back in rotation
// within RecoverWithin.
type LateHealthChecks struct {
	Host                      string
	Delay, For, RecoverWithin time.Duration
}

// DesignParams are the parameters that requirements depend on.
type DesignParams struct {
	Alpha, Beta float64
	CPUs        int // of the balancer
}
