package run

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/lbproof/lbproof/internal/plan"
)

// spareFiles is the number of open files that the worker needs besides its connections.
const spareFiles = 64

// prepare provides what the phases need, or returns what is missing.
func (w *worker) prepare() error {
	for _, l := range w.request.Phases {
		if err := raiseFileLimit(l); err != nil {
			return err
		}
		if err := checkPorts(l); err != nil {
			return err
		}
	}
	if !w.request.Clients.IsValid() {
		return nil
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("add client addresses: %w", err)
	}
	dst := ipNet(w.request.Clients)
	// A local route makes every address of the network bindable by the worker.
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("add client addresses %s: %w", dst, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// AddRoute routes a network via a node, in the network namespace of this process.
func AddRoute(to netip.Prefix, via netip.Addr) error {
	dst := ipNet(to)
	if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %s via %s: %w", dst, via, err)
	}
	return nil
}

// maxConnections returns how many connections a phase may have open at once.
func maxConnections(l plan.Phase) int {
	n := min(l.Concurrency, l.Count)
	if !l.NewConnections {
		n = max(n, min(l.Clients.Count, l.Count))
	}
	return n
}

// raiseFileLimit raises the open-file limit to its maximum; if that is too low, it returns an error.
func raiseFileLimit(l plan.Phase) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the open-file limit: %w", err)
	}
	need := uint64(maxConnections(l) + spareFiles)
	if need > limit.Max {
		return fmt.Errorf("phase %s: needs %d open files, but the worker's limit is %d; "+
			"lower concurrency or clients, or raise the hard limit (dockerd: default-ulimits, nofile)",
			l.Name, need, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the open-file limit to %d: %w", limit.Max, err)
	}
	return nil
}

// checkPorts returns an error if a phase needs more connections per address than there are local ports.
func checkPorts(l plan.Phase) error {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return nil // other systems have other limits, which show as errors of the load generator
	}
	var low, high int
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return fmt.Errorf("read the local port range: %w", err)
	}
	addresses := 1
	if l.Clients.OwnAddresses {
		addresses = l.Clients.Count
	}
	if have, need := high-low+1, (maxConnections(l)+addresses-1)/addresses; need > have {
		return fmt.Errorf("phase %s: needs %d ports per address, but there are %d; "+
			"use more clients with their own addresses, or widen net.ipv4.ip_local_port_range", l.Name, need, have)
	}
	return nil
}
