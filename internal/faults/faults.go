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
	Name  plan.Fault
	Doc   string
	Roles []plan.Role // the nodes that it can be put on
	Args  []Arg
	// Start puts the fault in force. undo takes it back; it is called once, and may say what became of the fault
	// meanwhile.
	Start func(ctx context.Context, s Site) (undo func(context.Context) error, err error)
	// Detect is what the peer sees of the node while the fault is in force; nil where Order itself makes sure.
	Detect func(s Site) agent.Poll
	// NeedsTLS: it shows where the node speaks TLS, and nowhere else.
	NeedsTLS bool
	// Needs is what the host must be able to do.
	Needs []stack.HostFeature
	// NeedsMaster: the balancer needs a master process for it.
	NeedsMaster bool
	// SkipHealCheck faults are not seen to be gone when they are taken back: what they did stays done.
	SkipHealCheck bool
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
	slow,        // answers take longer
	hang,        // there is no answer
	wrongLength, // Content-Length is wrong
	earlyClose,  // the connection ends in the middle of a body
	slowBody,    // a body takes its time
	badHeader,   // a header is none
	closeIdle,   // a kept connection is closed when its next request comes
	sick,        // health checks fail, requests do not
	flap,        // health checks fail now and then
	dnsChange,   // a name has another address
	dnsFail,     // a name has no address
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
	OtherPeers []*stack.Member // further peers
	Worker     *stack.Member   // who sends the traffic, and reads the ledgers
	Config     model.Config
	Port       int    // of Node, to look at
	TLS        bool   // which that port speaks
	Host       string // that its certificate is for
	CA         []byte // PEM of the authority that signed it
	// RenewCerts makes the node's certificates anew, with a flaw; the files' names are their places.
	RenewCerts func(flaw string) ([]model.File, error)
	Duration   time.Duration
	// UndoAfter is after how long the reaper takes the fault back, where it is one of the node and nobody has; 0 is never.
	UndoAfter time.Duration
	Args      Args
}

// On says whether a fault can be put on a node.
func (f Fault) supports(role plan.Role) bool { return slices.Contains(f.Roles, role) }

// Validate says why an event cannot be; nil where it can.
func Validate(e plan.Event, target plan.Spec) error {
	f, err := Find(e.Fault)
	switch {
	case err != nil:
		return err
	case !f.supports(target.Role):
		return fmt.Errorf("%s cannot be put on %s: it is a %s, and the fault is for %s",
			f.Name, e.Target, target.Role, roleNames(f))
	case f.NeedsTLS && len(target.TLSPorts) == 0:
		return fmt.Errorf("%s cannot be put on %s: it speaks no TLS", f.Name, e.Target)
	case target.Helper && f.inService():
		return fmt.Errorf("%s cannot be put on %s: it is a service beside the pools, which does not misbehave",
			f.Name, e.Target)
	}
	return Args(e.Settings).validate(f)
}

// ValidateHost says why a host cannot have the events of a run; nil where it can.
func ValidateHost(events []plan.Event, host stack.Host) error {
	for _, e := range events {
		f, err := Find(e.Fault)
		if err != nil {
			continue // which the run's marks will say
		}
		if a, lacks := host.FirstMissing(f.Needs); lacks {
			return fmt.Errorf("the fault %s cannot be put on %s: %s", e.Fault, e.Target, a.MissingText())
		}
	}
	return nil
}

// inService says whether the service itself does it.
func (f Fault) inService() bool { return slices.Contains(serviceFaults, f.Name) }

func roleNames(f Fault) string {
	var names []string
	for _, r := range f.Roles {
		names = append(names, string(r)+"s")
	}
	return strings.Join(names, " and ")
}

// What faults are for: those that work on all nodes, and those that show in answers to HTTP.
var (
	anyRole   = []plan.Role{plan.Backend, plan.Balancer, plan.Dependency}
	httpRoles = []plan.Role{plan.Backend, plan.Balancer}
)

// undoGrace is how much longer than planned a rule stays before it takes itself back: nobody has healed it then.
const undoGrace = 5 * time.Second

// pollHealth is what most looks have in common: every few milliseconds, for as long as a fault may take to show. Of a
// balancer it only opens a connection: a request would go through to a backend.
func pollHealth(s Site, want agent.Expectation) agent.Poll {
	l := agent.Poll{
		Timeout: 250 * time.Millisecond, Interval: 5 * time.Millisecond, GiveUpAfter: 10 * time.Second,
		Expect: want, TLS: s.TLS,
	}
	if s.Node.Spec.Role == plan.Backend {
		l.Path = "/health"
	}
	return l
}

// pollHTTP is a look that asks a balancer too, for faults that show in answers only.
func pollHTTP(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	if l.Path == "" {
		l.Path = "/"
	}
	return l
}
