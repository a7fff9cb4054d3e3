package model

import "slices"

// Dialect is behaviour of a balancer that no line of its configuration states and that concerns no single part (what
// concerns one is stored there). The reader fills it in, and it is stored in plan.json, so that a run can be judged
// without the reader.
type Dialect struct {
	Instances Instances `json:"instances"`
	// PinsConnections: a client connection belongs to one instance, so that all its requests see the rotation and failure
	// counts of that instance (tests then send bursts).
	PinsConnections bool        `json:"pins_connections,omitempty"`
	ForgetsOnReload []Memory    `json:"forgets_on_reload,omitempty"`
	Process         Process     `json:"process"`
	Log             LogPatterns `json:"log,omitzero"`
	Advice          []Advice    `json:"advice,omitempty"` // the first that matches a claim applies
}

// Advice is the usual cause of a refuted claim on this balancer, and what to write instead.
type Advice struct {
	Check   string `json:"check"`
	Detail  string `json:"detail,omitempty"` // of the claim; empty: any
	Why     string `json:"why"`
	Instead string `json:"instead"`
}

// AdviceFor returns the advice for a claim; ok is false if there is none.
func (d Dialect) AdviceFor(check, detail string) (advice Advice, ok bool) {
	for _, a := range d.Advice {
		if a.Check == check && (a.Detail == "" || a.Detail == detail) {
			return a, true
		}
	}
	return Advice{}, false
}

// Instances is where a balancer keeps the rotation of its pools and the failure counts of their servers.
type Instances string

// The kinds of instances.
const (
	InstancePerWorker Instances = "per worker" // each worker has its own (nginx), except for pools with SharedState
	SharedInstance    Instances = "shared"     // one for all threads (HAProxy, Traefik)
)

// Memory is state that a balancer keeps between requests.
type Memory string

// The kinds of state.
const (
	FailureMemory  Memory = "failures" // ejected servers and failure counts
	RotationMemory Memory = "rotation" // the position in each rotation
	SessionMemory  Memory = "sessions" // client to server, if the balancer stores it
)

// Process is how a balancer starts its processes and reloads its configuration.
type Process struct {
	Title  string `json:"title"`            // prefix of the title of the processes that serve requests
	Master bool   `json:"master,omitempty"` // one process starts and supervises the others
	// ReloadSignal makes the master reload the configuration; empty if the balancer watches its files.
	ReloadSignal string `json:"reload_signal,omitempty"`
	// MasterArgs start a balancer without a master with one.
	MasterArgs []string `json:"master_args,omitempty"`
}

// LogPatterns are Go regular expressions for lines of the balancer's log. An empty one matches no line.
type LogPatterns struct {
	Warning string `json:"warning,omitempty"` // a warning or an error
	// NoServer is a warning that no server responds, which is normal if the balancer is started alone.
	NoServer string `json:"no_server,omitempty"`
	// Prefix is the variable start of a line; only its first group is kept.
	Prefix        string `json:"prefix,omitempty"`
	RequestDetail string `json:"request_detail,omitempty"` // the end of a line about a single request

	// FailedAttempt: an attempt at a server failed, and the balancer may eject it.
	FailedAttempt string `json:"failed_attempt,omitempty"`
	NoConnections string `json:"no_connections,omitempty"` // a worker has run out of connections
}

// ReloadResetsFailures reports whether each instance counts failures by itself and a reload resets the counts.
func (d Dialect) ReloadResetsFailures() bool {
	return d.Instances == InstancePerWorker && slices.Contains(d.ForgetsOnReload, FailureMemory)
}
