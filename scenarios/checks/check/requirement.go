package check

import (
	"time"

	"github.com/lbproof/lbproof/internal/plan"
)

// Trial is traffic that shows whether a claim holds.
type Trial struct {
	// Trials of the same kind that are about the same can be one phase, in which the requests of each take turns.
	Kind  plan.Kind
	About string     // a claim, a pool, a rate; empty where trials of the kind are not told apart
	Load  plan.Phase // Requests of one claim, and Count for them; a Name is not needed
	// Apart is a trial of one request and many clients, which no other trial is to have: where they share a phase, its
	// clients, its rate and its requests come on top of the others'.
	Apart bool
	// Slow are servers that take longer for every answer while the phase lasts.
	Slow []Slowed
	// Vanish are servers to which no packet gets through while the phase lasts.
	Vanish []string
	// Kill are servers that die and come back, one after another.
	Kill []string
	// Gone are servers that die all at once.
	Gone  []string
	Lasts time.Duration // how long they are dead, at least
	// Ail are servers whose health checks are answered late, one time after another.
	Ail []Ailment
	// Move is a server that has another address for a time.
	Move  string
	Moved time.Duration // for how long
	// Reload is when, since the phase began, the balancer takes over its configuration again; 0 is never.
	Reload time.Duration
	// Shows is what the trial would find out, one sentence without a full stop.
	Shows string
}

// Slowed is a server that takes longer for every answer.
type Slowed struct {
	Host  string
	Delay time.Duration
}

// Ailment is how late a server's health checks are answered, for how long, and how long after that it is back at the
// latest.
type Ailment struct {
	Host                string
	Delay, Lasts, After time.Duration
}

// Terms are what trials are designed for.
type Terms struct {
	Alpha, Beta float64
	CPUs        int // that the balancer sees
}
