package docker

import (
	"slices"

	"github.com/moby/moby/api/types/container"

	"github.com/lbproof/lbproof/internal/plan"
)

// Roles of containers that are no nodes.
const (
	roleReaper = "reaper"
	roleAid    = "aid" // runs one command of lbproof's own beside a node, and ends
)

// rights are what the containers of a role may do. Every container runs without new privileges, with Docker's own seccomp profile, and with
// no capability but these.
type rights struct {
	capabilities []string
	user         string // of containers whose spec names none; empty is the image's
	readOnly     bool   // nothing is written to the root file system, unless files are put into it before the start
}

// nobody is the user of lbproof's own nodes that need no capability.
const nobody = "65534:65534"

// rightsOf says what a role may do. Which capabilities a balancer needs, its manual says: its first process is root's, binds low ports,
// gives its directories and sockets to another user and sets their modes then, becomes that user and signals such processes; HAProxy changes its
// root besides.
func rightsOf(role plan.Role) rights {
	switch role {
	case plan.Balancer, plan.Peer:
		return rights{capabilities: []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID", "SYS_CHROOT"}}
	case plan.Backend, plan.Worker:
		return rights{user: nobody, readOnly: true}
	case plan.Agent:
		return rights{capabilities: []string{"NET_ADMIN"}, user: "0", readOnly: true}
	case roleAid, roleReaper:
		return rights{user: "0", readOnly: true} // what an aid's command needs besides, beside says
	}
	return rights{}
}

// restrict gives a container the rights of its role, and its bounds.
func (s *Stack) restrict(h *container.HostConfig, spec plan.Spec, files int) {
	r := rightsOf(spec.Role)
	h.CapDrop = []string{"ALL"}
	h.CapAdd = slices.Clone(r.capabilities)
	h.SecurityOpt = []string{"no-new-privileges:true"}
	h.ReadonlyRootfs = r.readOnly && files == 0
	bound := s.bound(spec.Role)
	h.PidsLimit = &bound.PIDs
	if h.Memory == 0 {
		h.Memory, h.MemorySwap = bound.Memory, bound.Memory
	}
}

// bound is the most that a container of a role may use.
func (s *Stack) bound(role plan.Role) plan.Bound {
	for _, bounds := range []map[plan.Role]plan.Bound{s.Bounds, plan.DefaultBounds()} {
		if b, ok := bounds[role]; ok {
			return b
		}
	}
	return plan.DefaultBounds()[plan.Agent]
}
