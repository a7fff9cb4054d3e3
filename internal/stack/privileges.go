package stack

import (
	"slices"

	"github.com/lbproof/lbproof/internal/plan"
)

// Roles of what a runtime starts and is no node.
const (
	Reaper  plan.Role = "reaper"
	Sidecar plan.Role = "sidecar" // runs one command of lbproof's own beside a node, and ends
)

// Privileges are what a node may do. Every node runs without new privileges, with a filter of system calls (Docker's own
// seccomp profile, or one like it), and with no capability but these.
type Privileges struct {
	Capabilities []string
	User         string // of nodes whose spec names none; empty is the image's
	ReadOnly     bool   // nothing is written to the root file system, unless files are put into it before the start
}

// nobodyUser is the user of lbproof's own nodes that need no capability.
const nobodyUser = "65534:65534"

// PrivilegesOf says what a role may do. Which capabilities a balancer needs, its manual says: its first process is
// root's, binds low ports, gives its directories and sockets to another user and sets their modes then, becomes that
// user and signals such processes; HAProxy changes its root besides.
func PrivilegesOf(role plan.Role) Privileges {
	switch role {
	case plan.Balancer, plan.Peer:
		return Privileges{Capabilities: []string{
			"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_CHROOT",
		}}
	case plan.Backend, plan.Worker:
		return Privileges{User: nobodyUser, ReadOnly: true}
	case plan.Agent:
		return Privileges{Capabilities: []string{"NET_ADMIN"}, User: "0", ReadOnly: true}
	case Sidecar, Reaper:
		return Privileges{User: "0", ReadOnly: true} // what an aid's command needs besides, Command says
	}
	return Privileges{}
}

// WithCapabilities adds capabilities.
func (r Privileges) WithCapabilities(capabilities ...string) Privileges {
	r.Capabilities = append(slices.Clone(r.Capabilities), capabilities...)
	return r
}
