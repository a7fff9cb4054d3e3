package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// Requirement is traffic that shows whether a claim holds.
type Requirement struct {
	// Trials of the same kind that are about the same can be one phase, in which the requests of each take turns.
	Kind  plan.PhaseKind
	About string     // a claim, a pool, a rate; empty where trials of the kind are not told apart
	Phase plan.Phase // Requests of one claim, and Count for them; a Name is not needed
	// Isolated is a trial of one request and many clients, which no other trial is to have: where they share a phase, its
	// clients, its rate and its requests come on top of the others'.
	Isolated bool
	// SlowServers are servers that take longer for every answer while the phase lasts.
	SlowServers []SlowServer
	// Unreachable are servers to which no packet gets through while the phase lasts.
	Unreachable []string
	// Outages are servers that die and come back, one after another.
	Outages []string
	// AllDown are servers that die all at once.
	AllDown    []string
	AllDownFor time.Duration // how long they are dead, at least
	// LateChecks are servers whose health checks are answered late, one time after another.
	LateChecks []LateHealthChecks
	// MovedHost is a server that has another address for a time.
	MovedHost string
	MovedFor  time.Duration // for how long
	// ReloadAt is when, since the phase began, the balancer takes over its configuration again; 0 is never.
	ReloadAt time.Duration
	// Detects is what the trial would find out, one sentence without a full stop.
	Detects string
}

// SlowServer is a server that takes longer for every answer.
type SlowServer struct {
	Host  string
	Delay time.Duration
}

// LateHealthChecks is how late a server's health checks are answered, for how long, and how long after that it is back at the
// latest.
type LateHealthChecks struct {
	Host                      string
	Delay, For, RecoverWithin time.Duration
}

// DesignParams are what trials are designed for.
type DesignParams struct {
	Alpha, Beta float64
	CPUs        int // that the balancer sees
}
