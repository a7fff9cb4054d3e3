// Package faults breaks nodes of a running stack on purpose. A fault says how it is put in force and how it is healed, and
// proves both by looking: what was only ordered is not in force.
//
// To add a fault: one file here with its Inject, one line in All; where it needs more of a node than Node offers, a method
// there and in internal/stack.
package faults

import (
	"context"
	"fmt"
)

// Node is a container of the run, as a fault sees it.
type Node interface {
	// Pause freezes every process, and Unpause lets them go on.
	Pause(ctx context.Context) error
	Unpause(ctx context.Context) error
	// Paused says whether the processes are frozen now.
	Paused(ctx context.Context) (bool, error)
}

// Fault is one way to break a node.
type Fault struct {
	Name string
	Doc  string
	// Inject returns when the fault is seen to be in force. heal returns when it is seen to be gone.
	Inject func(ctx context.Context, node Node) (heal func(context.Context) error, err error)
}

// All is every fault.
var All = []Fault{
	pause, // hangs: accepts connections, never answers
}

// Find gives the fault of that name.
func Find(name string) (Fault, error) {
	for _, f := range All {
		if f.Name == name {
			return f, nil
		}
	}
	return Fault{}, fmt.Errorf("no fault is called %q", name)
}
