package model

import "slices"

// Dialect is what a balancer does that no line of its configuration says, and that concerns no single part of it: what
// concerns one stands there. The reader fills it in, and it is stored in plan.json, so that a run can be judged without
// the reader.
type Dialect struct {
	Instances Instances `json:"instances"`
	// Sticks: of several instances each has its clients' connections for as long as they last, so that requests on one
	// connection meet the turns and failure counts of one instance (tests then send bursts).
	Sticks  bool     `json:"sticks,omitempty"`
	Forgets []Memory `json:"forgets,omitempty"` // by a reload
	Process Process  `json:"process"`
	Log     LogForms `json:"log,omitzero"`
}

// Instances is where a balancer keeps the turns of its pools and the failures of their servers.
type Instances string

// The kinds of instances.
const (
	PerWorker Instances = "per worker" // each worker process for itself (nginx), but for pools whose state is shared
	OneForAll Instances = "shared"     // all threads have the same (HAProxy, Traefik)
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
	// Reload is the signal on which the master takes a changed configuration over; empty where none does, because the
	// balancer watches its files.
	Reload string `json:"reload,omitempty"`
	// MasterBy are arguments that give a balancer without a master one.
	MasterBy []string `json:"master_by,omitempty"`
}

// LogForms are regular expressions of Go's for lines of the balancer's log. An empty one fits no line.
type LogForms struct {
	Complaint string `json:"complaint,omitempty"` // a warning or an error
	// Backendless is a complaint that no server answers, as none does where the balancer is started alone.
	Backendless string `json:"backendless,omitempty"`
	// Stamp is the beginning of a line, which differs each time; its first group does not.
	Stamp  string `json:"stamp,omitempty"`
	Detail string `json:"detail,omitempty"` // the end of a line that is about one request

	// Attempt: an attempt at a server failed, after which the balancer may leave that alone.
	Attempt string `json:"attempt,omitempty"`
	Full    string `json:"full,omitempty"` // a worker has no connection left for a request
}

// ForgetsFailures reports whether each instance counts failures by itself, so that one which is seldom asked remembers
// what others do not, and a reload makes all forget them.
func (d Dialect) ForgetsFailures() bool {
	return d.Instances == PerWorker && slices.Contains(d.Forgets, FailureMemory)
}
