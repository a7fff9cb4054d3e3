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

// spareFiles is how many open files the worker needs beside its connections.
const spareFiles = 64

// prepare gets the worker what its loads need, or says what is missing before anything is sent.
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
		return fmt.Errorf("take the clients' addresses: %w", err)
	}
	dst := ipNet(w.request.Clients)
	// A local route makes every address of the network the worker's own, so that it may bind them and answers for them.
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL,
		Table: unix.RT_TABLE_LOCAL, Scope: netlink.SCOPE_HOST,
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("take the clients' addresses %s: %w", dst, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// AddRoute sends what goes to a network by way of a node, in the network of the calling process.
func AddRoute(to netip.Prefix, via netip.Addr) error {
	dst := ipNet(to)
	if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: via.AsSlice()}); err != nil {
		return fmt.Errorf("route %s by way of %s: %w", dst, via, err)
	}
	return nil
}

// maxConnections is how many a load may have open at once.
func maxConnections(l plan.Phase) int {
	n := min(l.Concurrency, l.Count)
	if !l.NewConnections {
		n = max(n, min(l.Clients.Count, l.Count))
	}
	return n
}

// raiseFileLimit raises the limit of open files as far as it may, and says where that is not enough for a load.
func raiseFileLimit(l plan.Phase) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	need := uint64(maxConnections(l) + spareFiles)
	if need > limit.Max {
		return fmt.Errorf("phase %s needs %d open files and the worker may have %d: lower its concurrency or its clients, "+
			"or raise the hard limit (dockerd's default-ulimits, nofile)", l.Name, need, limit.Max)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
	}
	return nil
}

// checkPorts says where a load needs more connections from one address than there are ports.
func checkPorts(l plan.Phase) error {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return nil // a system without it has its own limits, which show as the tester's errors
	}
	var low, high int
	if _, err := fmt.Sscan(string(text), &low, &high); err != nil {
		return fmt.Errorf("read the range of local ports: %w", err)
	}
	addresses := 1
	if l.Clients.OwnAddresses {
		addresses = l.Clients.Count
	}
	if have, need := high-low+1, (maxConnections(l)+addresses-1)/addresses; need > have {
		return fmt.Errorf("phase %s needs %d ports of one address and there are %d: give it more clients "+
			"with addresses of their own, or widen net.ipv4.ip_local_port_range", l.Name, need, have)
	}
	return nil
}
