// Package stack starts the nodes of a plan on a private network without a route out, and verifies that they run the
// files of the plan. It sends no traffic and knows nothing of claims. Nodes run on a Runtime: the three interfaces of
// this file. Everything else is here and the same for every runtime: agents, verification, startup messages, faults
// that expire.
//
// To add a runtime, implement the interfaces in a package below this one, as internal/stack/docker does, and let
// cmd/lbproof choose it.
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

// Runtime runs nodes, e.g. as containers.
type Runtime interface {
	// Host connects to the runtime's engine and describes its machine. It is called first. An error says what to
	// install or start.
	Host(ctx context.Context) (Host, error)
	// Image returns an image that is on the machine, or pulls or builds it. The zero image holds lbproof itself.
	Image(ctx context.Context, image plan.Image) (Image, error)
	// Open creates the reaper, which removes everything that the run has created when lbproof exits in any way, then
	// the networks of the run.
	Open(ctx context.Context, config RunConfig) (Stack, error)
}

// Stack is what a runtime has created for one run.
type Stack interface {
	// Start starts a node and returns once its process runs; it does not wait until the node serves.
	Start(ctx context.Context, s Start) (Node, error)
	// ClientNetwork is the network of client addresses; invalid if the RunConfig has none.
	ClientNetwork() netip.Prefix
	// Watch passes events on to tell until ctx ends, which is no error.
	Watch(ctx context.Context, tell func(Event)) error
	// Close removes everything that the run created, even after the run's context has ended.
	Close() error
}

// Node is a process with its files and its network, e.g. a container.
type Node interface {
	State(ctx context.Context) (State, error)
	// Streams are the node's standard streams; nil unless Start.AttachStreams.
	Streams() *Streams
	// Signal sends a signal to the first process and does not wait for its effect. A node that exits stays down until
	// Restart.
	Signal(ctx context.Context, signal string) error
	// Restart starts a node that has exited, with its files as they are. It does nothing if the node runs.
	Restart(ctx context.Context) error
	// Freeze suspends or resumes all processes.
	Freeze(ctx context.Context, frozen bool) error
	// LimitCPU sets the CPU limit; 0 is no limit.
	LimitCPU(ctx context.Context, cores float64) error
	// ScheduleUndo tells the reaper to undo a fault after a time, unless revoke is called first: lbproof may hang or be
	// killed.
	ScheduleUndo(u Undo) (revoke func())
	// Processes returns the node's processes, the first one first.
	Processes(ctx context.Context) ([]Process, error)
	// Run runs a command and waits for it to exit. A non-zero exit status is no error.
	Run(ctx context.Context, c Command) (Output, error)
	// Read opens a file of the node. The error is fs.ErrNotExist if there is none, ErrLinksToStdout if it is a link to
	// Stdout.
	Read(ctx context.Context, path string) (io.ReadCloser, error)
	// Write replaces files in order, each atomically by a rename. Otherwise a balancer that watches its files could
	// reload an incomplete one. A file's name is its path.
	Write(ctx context.Context, files ...model.File) error
	// Logs writes the node's output.
	Logs(ctx context.Context, l LogOptions) error
	// Usage returns the node's resource usage since its start, without Node, At and Restarts. It fails if the node is
	// down.
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

// HostFeature is something that some hosts cannot do with a node.
type HostFeature string

// The features.
const (
	CPULimits     HostFeature = "limits" // limit its CPU, and change the limit while it runs
	Freeze        HostFeature = "freeze" // freeze all its processes
	UserSwitching HostFeature = "users"  // let its processes switch users
	MemoryLimits  HostFeature = "oom"    // limit its memory
)

// HostFeatures are all features.
var HostFeatures = []HostFeature{CPULimits, Freeze, UserSwitching, MemoryLimits}

// MissingText explains what a host without the feature lacks.
func (a HostFeature) MissingText() string {
	switch a {
	case CPULimits:
		return "this host cannot limit the CPU of a node: the engine needs the cgroup controller cpu"
	case Freeze:
		return "this host cannot freeze a node: the engine needs the cgroup freezer"
	case UserSwitching:
		return "processes of a node cannot switch users on this host: lbproof's user needs subordinate ids (/etc/subuid)"
	case MemoryLimits:
		return "this host cannot limit the memory of a node: the engine needs the cgroup controller memory"
	}
	return "this host lacks " + string(a)
}

// FirstMissing returns the first feature that the host lacks; ok is false if it has them all.
func (h Host) FirstMissing(needs []HostFeature) (a HostFeature, ok bool) {
	i := slices.IndexFunc(needs, func(a HostFeature) bool { return !slices.Contains(h.Features, a) })
	if i < 0 {
		return "", false
	}
	return needs[i], true
}

// Image is an image on this machine.
type Image struct {
	Ref    string
	Source string // "local", "pulled", or what it was built from
}

// RunConfig is what a run needs besides its nodes.
type RunConfig struct {
	Run         string       // id
	Isolated    bool         // no node has a network
	Addresses   []netip.Addr // of nodes, from the configuration, without duplicates
	ClientCount int          // client addresses besides the worker's own
	Bounds      map[plan.Role]plan.Bound
}

// BoundFor returns the resource bound of a role, for nodes whose spec sets no limit (default: plan.DefaultBounds).
func (c RunConfig) BoundFor(role plan.Role) plan.Bound {
	for _, bounds := range []map[plan.Role]plan.Bound{c.Bounds, plan.DefaultBounds()} {
		if b, ok := bounds[role]; ok {
			return b
		}
	}
	return plan.DefaultBounds()[plan.Agent]
}

// Start describes a node to start. Exactly one of Placement, NetworkOf and Isolated is set.
type Start struct {
	Spec       plan.Spec // with its final command and environment
	Image      Image
	Files      []model.File // contents for Spec.Files
	Privileges Privileges

	Placement *Placement
	NetworkOf Node // owns the network that it joins; its volumes too, if Spec.SharedDirs is set
	Isolated  bool // no network

	LoopbackHosts []string // host names that resolve to itself, if isolated
	Volumes       []string // directories that outlive its process and that joining nodes may share
	AttachStreams bool     // give its standard streams to the caller, and keep no log
}

// Placement is where a node is in the run's networks.
type Placement struct {
	Address     string   // from the configuration; empty: any in the main network
	Hosts       []string // names in the main network
	AllNetworks bool     // joins all networks, not only the main one and that of its address
}

// State is the state of a node.
type State struct {
	Running    bool
	Restarting bool // has exited and is about to restart automatically
	Frozen     bool
	OOMKilled  bool
	ExitCode   int
	Restarts   int // automatic ones, see plan.Spec.AutoRestart
	Started    time.Time
	Argv       []string
	Cores      float64      // CPU limit; 0 is none
	ImageID    string       // digest
	Addresses  []netip.Addr // the main network's first; none if it joined another node's network or is down
}

// Process is a process of a node.
type Process struct {
	ID    string
	Title string // command line, or the title that it has set
}

// Command is a command to run in a node, or next to it.
type Command struct {
	Argv []string
	// RunLbproof runs an lbproof command, without Argv[0], in a sidecar that shares the node's network.
	RunLbproof   bool
	SharePIDs    bool     // the sidecar sees the node's processes
	Capabilities []string // of the sidecar
}

// Output is the result of a command.
type Output struct {
	ExitCode int
	Text     string
}

// LogOptions selects parts of a log.
type LogOptions struct {
	Stdout, Stderr io.Writer // may be nil
	Timestamps     bool      // prefix each line with its time and a space
	Follow         bool      // continue with new output until ctx is done, which is no error
}

// Event is a change of a node's state.
type Event struct {
	Node Node
	Kind EventKind
}

// EventKind is what happened to a node.
type EventKind string

// The kinds of events.
const (
	Started     EventKind = "started"
	Exited      EventKind = "exited"
	OutOfMemory EventKind = "out of memory" // one of its processes was OOM-killed
)

// Undo is what the reaper does to a node unless lbproof does it in time.
type Undo struct {
	Kind  UndoKind
	Cores float64       // of RestoreLimit: the previous limit; 0 is none
	After time.Duration // from now
}

// UndoKind is how a fault is undone.
type UndoKind string

// The kinds of Undo.
const (
	Unfreeze     UndoKind = "unfreeze"
	Restart      UndoKind = "restart"
	RestoreLimit UndoKind = "restore-limit"
)

// Stdout is the target of access logs in balancer images.
const Stdout = "/dev/stdout"

// ErrLinksToStdout is Node.Read's error for a link to Stdout.
var ErrLinksToStdout = errors.New("the file is a link to " + Stdout)
