package stack

import (
	"slices"

	"github.com/lbproof/lbproof/internal/plan"
)

// Roles of what a runtime starts and is no node.
const (
	Reaper plan.Role = "reaper"
	Aid    plan.Role = "aid" // runs one command of lbproof's own beside a node, and ends
)

// Rights are what a node may do. Every node runs without new privileges, with a filter of system calls (Docker's own
// seccomp profile, or one like it), and with no capability but these.
type Rights struct {
	Capabilities []string
	User         string // of nodes whose spec names none; empty is the image's
	ReadOnly     bool   // nothing is written to the root file system, unless files are put into it before the start
}

// nobody is the user of lbproof's own nodes that need no capability.
const nobody = "65534:65534"

// RightsOf says what a role may do. Which capabilities a balancer needs, its manual says: its first process is
// root's, binds low ports, gives its directories and sockets to another user and sets their modes then, becomes that
// user and signals such processes; HAProxy changes its root besides.
func RightsOf(role plan.Role) Rights {
	switch role {
	case plan.Balancer, plan.Peer:
		return Rights{Capabilities: []string{
			"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_CHROOT",
		}}
	case plan.Backend, plan.Worker:
		return Rights{User: nobody, ReadOnly: true}
	case plan.Agent:
		return Rights{Capabilities: []string{"NET_ADMIN"}, User: "0", ReadOnly: true}
	case Aid, Reaper:
		return Rights{User: "0", ReadOnly: true} // what an aid's command needs besides, Command says
	}
	return Rights{}
}

// With adds capabilities.
func (r Rights) With(capabilities ...string) Rights {
	r.Capabilities = append(slices.Clone(r.Capabilities), capabilities...)
	return r
}
