package stack

import (
	"slices"

	"github.com/lbproof/lbproof/internal/plan"
)

// Roles of containers that are not nodes of the plan.
const (
	Reaper  plan.Role = "reaper"
	Sidecar plan.Role = "sidecar" // runs one lbproof command next to a node, and exits
)

// Privileges are what a node may do. Every node runs with no-new-privileges, a seccomp filter (Docker's default profile
// or an equivalent), and no capabilities besides these.
type Privileges struct {
	Capabilities []string
	User         string // if the spec names none; empty: the image's
	ReadOnly     bool   // root file system, unless files are copied into it before the start
}

// nobodyUser runs lbproof's own nodes that need no capability.
const nobodyUser = "65534:65534"

// PrivilegesOf returns the privileges of a role. A balancer gets what its manual requires: the first process runs as
// root, binds low ports, changes owner and mode of its directories and sockets, switches to another user and signals
// that user's processes; HAProxy also calls chroot.
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
		return Privileges{User: "0", ReadOnly: true} // see Command.Capabilities for a sidecar's others
	}
	return Privileges{}
}

// WithCapabilities returns the privileges with more capabilities.
func (r Privileges) WithCapabilities(capabilities ...string) Privileges {
	r.Capabilities = append(slices.Clone(r.Capabilities), capabilities...)
	return r
}
