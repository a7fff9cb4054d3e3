package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/agent"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stack"
)

// Fault is one way to break a node.
type Fault struct {
	Name plan.Fault
	Doc  string
	On   []plan.Role // the nodes that it can be put on
	Args []Arg
	// Order puts the fault in force. undo takes it back; it is called once, and may say what became of the fault
	// meanwhile.
	Order func(ctx context.Context, s Site) (undo func(context.Context) error, err error)
	// Shows is what the peer sees of the node while the fault is in force; nil where Order itself makes sure.
	Shows func(s Site) agent.Look
	// Secure: it shows where the node speaks TLS, and nowhere else.
	Secure bool
	// Needs is what the host must be able to do.
	Needs []stack.Ability
	// Masters: the balancer needs a master process for it.
	Masters bool
	// Lasting faults are not seen to be gone when they are taken back: what they did stays done.
	Lasting bool
}

// All is every fault.
var All = []Fault{
	kill,        // the process is gone at once
	stop,        // it is asked to go, and may finish
	restart,     // it is gone for a moment
	drain,       // it says so first
	move,        // it comes back with another address
	pause,       // it is frozen
	crashLoop,   // it comes up and goes again
	memory,      // it runs out of memory
	cpu,         // it has less of the processor
	refuse,      // connections are refused
	blackhole,   // packets vanish
	partition,   // all packets vanish, both ways
	synLoss,     // some connections do not come about
	loss,        // packets are lost
	latency,     // packets are late
	bandwidth,   // packets queue up
	halfOpen,    // connections are accepted, and nothing comes back
	reset,       // answers end in a reset
	cut,         // answers end early
	slowClose,   // connections end late
	slice,       // answers come in small pieces
	errorRatio,  // some answers are errors
	slowness,    // answers take longer
	hang,        // there is no answer
	promise,     // Content-Length is wrong
	early,       // the connection ends in the middle of a body
	slowBody,    // a body takes its time
	badHeader,   // a header is none
	closeIdle,   // a kept connection is closed when its next request comes
	sick,        // health checks fail, requests do not
	flap,        // health checks fail now and then
	rename,      // a name has another address
	nameless,    // a name has no address
	certificate, // a certificate is one that no client should take
	reload,      // the balancer takes over a configuration
	workerKill,  // one of its workers is gone
}

// Find gives the fault of that name.
func Find(name plan.Fault) (Fault, error) {
	for _, f := range All {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("no fault is called %q", name)
}

// Site is where a fault is put: on a node, between it and its peer, which also looks whether it is there.
type Site struct {
	Node, Peer *stack.Member
	Others     []*stack.Member // further peers
	Worker     *stack.Member   // who sends the traffic, and reads the ledgers
	Config     model.Config
	Port       int    // of Node, to look at
	TLS        bool   // which that port speaks
	Host       string // that its certificate is for
	Trust      []byte // PEM of the authority that signed it
	// Renew makes the node's certificates anew, with a flaw; the files' names are their places.
	Renew func(flaw string) ([]model.File, error)
	For   time.Duration
	// Expires is after how long the reaper takes the fault back, where it is one of the node and nobody has; 0 is never.
	Expires time.Duration
	Args    Args
}

// On says whether a fault can be put on a node.
func (f Fault) can(role plan.Role) bool { return slices.Contains(f.On, role) }

// Check says why an event cannot be; nil where it can.
func Check(e plan.Event, target plan.Spec) error {
	f, err := Find(e.Fault)
	switch {
	case err != nil:
		return err
	case !f.can(target.Role):
		return fmt.Errorf("%s cannot be put on %s: it is a %s, and the fault is for %s",
			f.Name, e.Target, target.Role, rolesOf(f))
	case f.Secure && len(target.TLS) == 0:
		return fmt.Errorf("%s cannot be put on %s: it speaks no TLS", f.Name, e.Target)
	case target.Helper && f.misbehaves():
		return fmt.Errorf("%s cannot be put on %s: it is a service beside the pools, which does not misbehave",
			f.Name, e.Target)
	}
	return Args(e.With).check(f)
}

// Possible says why a host cannot have the events of a run; nil where it can.
func Possible(events []plan.Event, host stack.Host) error {
	for _, e := range events {
		f, err := Find(e.Fault)
		if err != nil {
			continue // which the run's marks will say
		}
		if a, lacks := host.Lacking(f.Needs); lacks {
			return fmt.Errorf("the fault %s cannot be put on %s: %s", e.Fault, e.Target, a.Lacks())
		}
	}
	return nil
}

// misbehaves says whether the service itself does it.
func (f Fault) misbehaves() bool { return slices.Contains(behaviours, f.Name) }

func rolesOf(f Fault) string {
	var names []string
	for _, r := range f.On {
		names = append(names, string(r)+"s")
	}
	return strings.Join(names, " and ")
}

// What faults are for: those that work on all nodes, and those that show in answers to HTTP.
var (
	anyNode  = []plan.Role{plan.Backend, plan.Balancer, plan.Dependency}
	speakers = []plan.Role{plan.Backend, plan.Balancer}
)

// grace is how much longer than planned a rule stays before it takes itself back: nobody has healed it then.
const grace = 5 * time.Second

// look is what most looks have in common: every few milliseconds, for as long as a fault may take to show. Of a
// balancer it only opens a connection: a request would go through to a backend.
func look(s Site, want agent.Want) agent.Look {
	l := agent.Look{
		Timeout: 250 * time.Millisecond, Every: 5 * time.Millisecond, Within: 10 * time.Second,
		Want: want, TLS: s.TLS,
	}
	if s.Node.Spec.Role == plan.Backend {
		l.Path = "/health"
	}
	return l
}

// ask is a look that asks a balancer too, for faults that show in answers only.
func ask(s Site, want agent.Want) agent.Look {
	l := look(s, want)
	if l.Path == "" {
		l.Path = "/"
	}
	return l
}
