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

// Fault is a way to break a node.
type Fault struct {
	Name  plan.Fault
	Doc   string
	Roles []plan.Role // of nodes that it can be applied to
	Args  []Arg
	// Start puts the fault in force. undo reverts it; it is called once and returns an error if the fault had no
	// effect.
	Start func(ctx context.Context, s Site) (undo func(context.Context) error, err error)
	// Detect returns the poll by which the peer sees the fault in force; nil if Start verifies it.
	Detect func(s Site) agent.Poll
	// NeedsTLS: the fault only shows on a node that speaks TLS.
	NeedsTLS bool
	// Needs are the host features that the fault requires.
	Needs []stack.HostFeature
	// NeedsMaster: the balancer needs a master process.
	NeedsMaster bool
	// SkipHealCheck: the effect is permanent, so Heal does not wait for it to vanish.
	SkipHealCheck bool
}

// All lists every fault.
var All = []Fault{
	kill,        // ends the process at once
	stop,        // ends the process gracefully
	restart,     // ends and starts the process
	drain,       // fails health checks first, then stops
	move,        // restarts with another address
	pause,       // freezes the node
	crashLoop,   // crashes repeatedly
	memory,      // is killed for lack of memory
	cpu,         // gets less CPU
	refuse,      // refuses connections
	blackhole,   // drops packets
	partition,   // drops all packets, in both directions
	synLoss,     // drops packets that open connections
	loss,        // drops packets at random
	latency,     // delays packets
	bandwidth,   // limits the bandwidth
	halfOpen,    // accepts connections, sends nothing
	reset,       // resets connections within a response
	cut,         // ends responses early
	slowClose,   // closes connections late
	slice,       // sends responses in small pieces
	errorRatio,  // returns errors
	slow,        // responds late
	hang,        // never responds
	wrongLength, // sends a wrong Content-Length
	earlyClose,  // closes the connection within a body
	slowBody,    // sends the body slowly
	badHeader,   // sends an invalid header line
	closeIdle,   // closes a kept connection on its next request
	sick,        // fails health checks only
	flap,        // fails health checks intermittently
	dnsChange,   // its name resolves to another address
	dnsFail,     // its name does not resolve
	certificate, // presents an invalid certificate
	reload,      // reloads its configuration
	workerKill,  // loses a worker process
}

// Find returns the fault with that name.
func Find(name plan.Fault) (Fault, error) {
	for _, f := range All {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("unknown fault %q", name)
}

// Site is where a fault is applied: a node, and the peer that verifies it.
type Site struct {
	Node, Peer *stack.Member
	OtherPeers []*stack.Member // further peers
	Worker     *stack.Member   // sends the traffic and reads the ledgers
	Config     model.Config
	Port       int    // of Node, to poll
	TLS        bool   // whether Port speaks TLS
	Host       string // that the certificate is for
	CA         []byte // PEM of its certificate authority
	// RenewCerts returns new certificates for the node, with a flaw; file names are paths on the node.
	RenewCerts func(flaw string) ([]model.File, error)
	Duration   time.Duration
	// UndoAfter is when the reaper undoes a fault on the node if nobody else has; 0: never.
	UndoAfter time.Duration
	Args      Args
}

// supports reports whether the fault can be applied to a role.
func (f Fault) supports(role plan.Role) bool { return slices.Contains(f.Roles, role) }

// Validate returns why an event is not possible, or nil.
func Validate(e plan.Event, target plan.Spec) error {
	f, err := Find(e.Fault)
	switch {
	case err != nil:
		return err
	case !f.supports(target.Role):
		return fmt.Errorf("%s: cannot be applied to %s, a %s; it is for %s",
			f.Name, e.Target, target.Role, roleNames(f))
	case f.NeedsTLS && len(target.TLSPorts) == 0:
		return fmt.Errorf("%s: cannot be applied to %s, which does not speak TLS", f.Name, e.Target)
	case target.Helper && f.inService():
		return fmt.Errorf("%s: cannot be applied to %s, a helper service outside the pools",
			f.Name, e.Target)
	}
	return Args(e.Settings).validate(f)
}

// ValidateHost returns why a host cannot inject the faults of a run, or nil.
func ValidateHost(events []plan.Event, host stack.Host) error {
	for _, e := range events {
		f, err := Find(e.Fault)
		if err != nil {
			continue // reported when it is injected
		}
		if a, lacks := host.FirstMissing(f.Needs); lacks {
			return fmt.Errorf("%s: cannot be applied to %s on this host: %s", e.Fault, e.Target, a.MissingText())
		}
	}
	return nil
}

// inService reports whether the backend service implements the fault.
func (f Fault) inService() bool { return slices.Contains(serviceFaults, f.Name) }

func roleNames(f Fault) string {
	var names []string
	for _, r := range f.Roles {
		names = append(names, string(r)+"s")
	}
	return strings.Join(names, " and ")
}

// Roles of faults: any node, or nodes that speak HTTP.
var (
	anyRole   = []plan.Role{plan.Backend, plan.Balancer, plan.Dependency}
	httpRoles = []plan.Role{plan.Backend, plan.Balancer}
)

// undoGrace is how long after its planned end a rule undoes itself if nobody healed it.
const undoGrace = 5 * time.Second

// pollHealth returns the usual poll: every few milliseconds, for as long as a fault may take to show. For a balancer it
// only opens a connection, since a request would reach a backend.
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

// pollHTTP returns a poll that sends requests to a balancer too, for faults that show only in responses.
func pollHTTP(s Site, want agent.Expectation) agent.Poll {
	l := pollHealth(s, want)
	if l.Path == "" {
		l.Path = "/"
	}
	return l
}
