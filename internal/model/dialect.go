package model

import "slices"

// Dialect is what a balancer does that no line of its configuration says, and that concerns no single part of it: what
// concerns one stands there. The reader fills it in, and it is stored in plan.json, so that a run can be judged without
// the reader.
type Dialect struct {
	Instances Instances `json:"instances"`
	// PinsConnections: of several instances each has its clients' connections for as long as they last, so that requests on one
	// connection meet the turns and failure counts of one instance (tests then send bursts).
	PinsConnections bool        `json:"pins_connections,omitempty"`
	ForgetsOnReload []Memory    `json:"forgets_on_reload,omitempty"` // by a reload
	Process         Process     `json:"process"`
	Log             LogPatterns `json:"log,omitzero"`
	Advice          []Advice    `json:"advice,omitempty"` // the first entry that fits a claim is its
}

// Advice explains a refuted claim: the usual cause on this balancer, and what to write instead.
type Advice struct {
	Check   string `json:"check"`
	Detail  string `json:"detail,omitempty"` // of the claim; empty fits every claim of the check
	Why     string `json:"why"`
	Instead string `json:"instead"`
}

// AdviceFor finds the advice for a claim; ok is false if there is none.
func (d Dialect) AdviceFor(check, detail string) (advice Advice, ok bool) {
	for _, a := range d.Advice {
		if a.Check == check && (a.Detail == "" || a.Detail == detail) {
			return a, true
		}
	}
	return Advice{}, false
}

// Instances is where a balancer keeps the turns of its pools and the failures of their servers.
type Instances string

// The kinds of instances.
const (
	InstancePerWorker Instances = "per worker" // each worker process for itself (nginx), but for pools whose state is shared
	SharedInstance    Instances = "shared"     // all threads have the same (HAProxy, Traefik)
)

// Memory is something that a balancer knows of the time before.
type Memory string

// What a balancer may know.
const (
	FailureMemory  Memory = "failures" // which servers are out, and how many of their requests failed
	RotationMemory Memory = "rotation" // whose turn it is
	SessionMemory  Memory = "sessions" // which client belongs to which server, where the balancer keeps that itself
)

// Process is how a balancer's processes begin, and how they take over a changed configuration.
type Process struct {
	Title  string `json:"title"`            // that the processes which serve requests have, at least in front
	Master bool   `json:"master,omitempty"` // one process begins the others, and minds them
	// ReloadSignal is the signal on which the master takes a changed configuration over; empty where none does, because the
	// balancer watches its files.
	ReloadSignal string `json:"reload_signal,omitempty"`
	// MasterArgs are arguments that give a balancer without a master one.
	MasterArgs []string `json:"master_args,omitempty"`
}

// LogPatterns are regular expressions of Go's for lines of the balancer's log. An empty one fits no line.
type LogPatterns struct {
	Warning string `json:"warning,omitempty"` // a warning or an error
	// NoServer is a complaint that no server answers, as none does where the balancer is started alone.
	NoServer string `json:"no_server,omitempty"`
	// Prefix is the beginning of a line, which differs each time; its first group does not.
	Prefix        string `json:"prefix,omitempty"`
	RequestDetail string `json:"request_detail,omitempty"` // the end of a line that is about one request

	// FailedAttempt: an attempt at a server failed, after which the balancer may leave that alone.
	FailedAttempt string `json:"failed_attempt,omitempty"`
	NoConnections string `json:"no_connections,omitempty"` // a worker has no connection left for a request
}

// ReloadResetsFailures reports whether each instance counts failures by itself, so that one which is seldom asked remembers
// what others do not, and a reload makes all forget them.
func (d Dialect) ReloadResetsFailures() bool {
	return d.Instances == InstancePerWorker && slices.Contains(d.ForgetsOnReload, FailureMemory)
}
