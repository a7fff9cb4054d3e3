// Package stack brings up the nodes of a plan, on one private network that has no route out, and shows that they run
// what they were given. It sends no traffic and knows nothing of claims. What nodes run on is a Runtime: the three
// interfaces of this file. All else is here and the same for every runtime: an agent beside each node, proof,
// complaints, faults that take themselves back.
//
// A new runtime is a folder below this one; internal/stack/docker is one. Only cmd/lbproof chooses.
package stack

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// Runtime is what nodes run on.
type Runtime interface {
	// Host connects to the runtime's engine and says what that can do. It comes before all else. An error says what to
	// install.
	Host(ctx context.Context) (Host, error)
	// Image finds an image: one that is here, or can be pulled or built. The zero image holds lbproof's own binary.
	Image(ctx context.Context, image plan.Image) (Image, error)
	// Open makes the networks of a run. The reaper comes first: it removes all that the run has made when lbproof is
	// gone, however it went.
	Open(ctx context.Context, w RunConfig) (Stack, error)
}

// Stack is what a runtime has made for one run.
type Stack interface {
	// Start brings up a node and returns when its process runs. It does not wait until the node serves.
	Start(ctx context.Context, s Start) (Node, error)
	// ClientNetwork is the network of client addresses; invalid where the World asks for none.
	ClientNetwork() netip.Prefix
	// Watch tells what befalls nodes until ctx ends, which is no error.
	Watch(ctx context.Context, tell func(Event)) error
	// Close removes everything that the run made, also where the context of the run has ended. So does the reaper, when
	// lbproof is killed.
	Close() error
}

// Node is a process with its files and its network: what a container is in Docker.
type Node interface {
	State(ctx context.Context) (State, error)
	// Streams are the node's standard streams; nil unless Start asked for them.
	Streams() *Streams
	// Signal tells the first process of something, and does not wait for what comes of it. A node that it ends stays
	// down until Restart.
	Signal(ctx context.Context, signal string) error
	// Restart starts a process that has ended again, with its files as they are. One that runs is left alone.
	Restart(ctx context.Context) error
	// Freeze stops all processes where they are, or lets them go on.
	Freeze(ctx context.Context, frozen bool) error
	// LimitCPU gives the node so many cores; 0 is no limit.
	LimitCPU(ctx context.Context, cores float64) error
	// ScheduleUndo has the reaper undo something when a time is over, unless revoke is called before: lbproof may hang, or
	// be gone.
	ScheduleUndo(u Undo) (revoke func())
	// Processes are those of the node, the first one first.
	Processes(ctx context.Context) ([]Process, error)
	// Run carries out a command to its end. Only what keeps it from being run is an error.
	Run(ctx context.Context, c Command) (Output, error)
	// Read opens a file of the node. The error is fs.ErrNotExist where there is none, and ErrPrinted where it leads to
	// standard output.
	Read(ctx context.Context, path string) (io.ReadCloser, error)
	// Write puts files in place, each in one step and in their order: written beside and renamed, as a careful
	// deployment does. A balancer that watches its files would take over half of one otherwise, or none. Their names are
	// their places.
	Write(ctx context.Context, files ...model.File) error
	// Logs writes what the node has printed.
	Logs(ctx context.Context, l LogOptions) error
	// Usage is what the node has used since its start. Node, At and Restarts are left to the caller. A node that is down
	// is an error.
	Usage(ctx context.Context) (history.Sample, error)
}

// Host is the machine that nodes run on.
type Host struct {
	Runtime  string // its name, "Docker"
	Version  string // of the runtime's engine
	Address  string // where the engine answers
	System   string // operating system and kernel
	CPUs     int
	Memory   int64 // bytes
	Features []HostFeature
}

// HostFeature is something that not every host can do with a node.
type HostFeature string

// The abilities.
const (
	CPULimits     HostFeature = "limits" // its processor is limited, and limited otherwise while it runs
	Freeze        HostFeature = "freeze" // all its processes are stopped where they are
	UserSwitching HostFeature = "users"  // its processes become other users
	MemoryLimits  HostFeature = "oom"    // its memory is limited: the kernel kills a process that takes more
)

// HostFeatures are all features.
var HostFeatures = []HostFeature{CPULimits, Freeze, UserSwitching, MemoryLimits}

// MissingText says of a host that it has not the ability, and what gives it that.
func (a HostFeature) MissingText() string {
	switch a {
	case CPULimits:
		return "this host cannot limit the processor of a node: the engine needs the cgroup controller cpu"
	case Freeze:
		return "this host cannot freeze a node: the engine needs a cgroup of its own"
	case UserSwitching:
		return "the processes of a node cannot become other users on this host: lbproof's user needs subordinate ids " +
			"(/etc/subuid)"
	case MemoryLimits:
		return "this host cannot limit the memory of a node: the engine needs the cgroup controller memory"
	}
	return "this host lacks " + string(a)
}

// FirstMissing is the first of some abilities that the host has not; ok is false where it has them all.
func (h Host) FirstMissing(needs []HostFeature) (a HostFeature, ok bool) {
	i := slices.IndexFunc(needs, func(a HostFeature) bool { return !slices.Contains(h.Features, a) })
	if i < 0 {
		return "", false
	}
	return needs[i], true
}

// Image is an image that is present.
type Image struct {
	Ref    string
	Source string // how it came: local, pulled, or what it was built from
}

// RunConfig is what a run needs beside its nodes.
type RunConfig struct {
	Run         string       // its id
	Isolated    bool         // no node has a network: there is none to be made
	Addresses   []netip.Addr // that the configuration names, without repeats: nodes have them
	ClientCount int          // addresses that the traffic may come from beside the worker's own
	Bounds      map[plan.Role]plan.Bound
}

// BoundFor is the most that a node of a role may use where its spec sets no limit. Roles without one of the World's have
// plan.DefaultBounds.
func (w RunConfig) BoundFor(role plan.Role) plan.Bound {
	for _, bounds := range []map[plan.Role]plan.Bound{w.Bounds, plan.DefaultBounds()} {
		if b, ok := bounds[role]; ok {
			return b
		}
	}
	return plan.DefaultBounds()[plan.Agent]
}

// Start is a node to be started. Exactly one of Place, Join and Isolated says where.
type Start struct {
	Spec       plan.Spec // with its command and environment as they are to be
	Image      Image
	Files      []model.File // those that Spec.Files names
	Privileges Privileges

	Placement *Placement
	NetworkOf Node // in whose network it is; it also sees what that one keeps, where its spec shares directories
	Isolated  bool // it sees no network

	LoopbackHosts []string // names of others that lead to itself, where it is isolated
	Volumes       []string // directories that outlive its process, and that those who join it may see
	AttachStreams bool     // its standard streams are the caller's, and its log keeps nothing
}

// Placement is where a node stands in the run's networks.
type Placement struct {
	Address     string   // that the configuration knows it by; empty: any of the main network's
	Hosts       []string // its names in the main network
	AllNetworks bool     // in all networks, and not in the one of its address and the main one alone
}

// State is how a node fares.
type State struct {
	Running    bool
	Restarting bool // it has ended, and is about to be brought back
	Frozen     bool
	OOMKilled  bool // it ended because the kernel killed it for memory
	ExitCode   int  // status with which it ended
	Restarts   int  // by the runtime itself, where the spec says that it restarts
	Started    time.Time
	Argv       []string
	Cores      float64      // its limit; 0 is none
	ImageID    string       // digest of its image
	Addresses  []netip.Addr // its own, that on the main network first; none where it has joined another, or is down
}

// Process is one of a node's.
type Process struct {
	ID    string
	Title string // its command line, or what it calls itself
}

// Command is a command to be run in a node, or beside it.
type Command struct {
	Argv []string
	// RunLbproof: it is lbproof's own program, which is not among the node's files: it runs beside the node, in its network.
	// Argv[0] is left out.
	RunLbproof   bool
	SharePIDs    bool     // it sees the node's processes
	Capabilities []string // beyond those of an Aid
}

// Output is what became of a command.
type Output struct {
	ExitCode int // exit status
	Text     string
}

// LogOptions says what is wanted of a log, and where it goes.
type LogOptions struct {
	Stdout, Stderr io.Writer // nil: not wanted
	Timestamps     bool      // each line begins with its time and a space, which make it one of its kind
	Follow         bool      // those to come until ctx is done, which is no error
}

// Event is something that befell a node.
type Event struct {
	Node Node
	Kind EventKind
}

// EventKind is what befell a node.
type EventKind string

// The kinds of events.
const (
	Started     EventKind = "started"
	Exited      EventKind = "exited"
	OutOfMemory EventKind = "out of memory" // the kernel killed one of its processes for memory
)

// Undo is what the reaper does to a node when lbproof does not do it in time.
type Undo struct {
	Kind  UndoKind
	Cores float64       // of Unlimit: the limit from before; 0 is none
	After time.Duration // from now on
}

// UndoKind takes back a fault.
type UndoKind string

// The kinds of Undo.
const (
	Unfreeze     UndoKind = "unfreeze"
	Restart      UndoKind = "restart"
	RestoreLimit UndoKind = "restore-limit"
)

// Stdout is where the images of balancers have their logs of requests lead to.
const Stdout = "/dev/stdout"

// ErrLinksToStdout is what Read says of a file that is a link to Stdout.
var ErrLinksToStdout = errors.New("it leads to " + Stdout)
