package agent

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// changeAddress replaces one of the node's addresses by another in the same network.
func changeAddress(from, to netip.Addr) (undo func() (int, error), err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, link := range links {
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return nil, fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range addresses {
			if a.IP.Equal(from.AsSlice()) {
				if err := replaceAddress(link, a.Mask, from, to); err != nil {
					return nil, err
				}
				return func() (int, error) { return 1, replaceAddress(link, a.Mask, to, from) }, nil
			}
		}
	}
	return nil, fmt.Errorf("the node has no address %s", from)
}

// replaceAddress removes the old address first: a second address in the same network would be removed with it.
func replaceAddress(link netlink.Link, mask net.IPMask, from, to netip.Addr) error {
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: from.AsSlice(), Mask: mask}}); err != nil {
		return fmt.Errorf("remove address %s: %w", from, err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: to.AsSlice(), Mask: mask}}); err != nil {
		return fmt.Errorf("add address %s: %w", to, err)
	}
	return nil
}
