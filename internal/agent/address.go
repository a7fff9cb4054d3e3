package agent

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// changeAddress gives the node another address in the place of one that it has, in the same network.
func changeAddress(from, to netip.Addr) (undo func() (int, error), err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	for _, link := range links {
		addresses, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return nil, fmt.Errorf("list the addresses: %w", err)
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

// replaceAddress gives up an address first: a second one of the same network would go with it.
func replaceAddress(link netlink.Link, mask net.IPMask, from, to netip.Addr) error {
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: from.AsSlice(), Mask: mask}}); err != nil {
		return fmt.Errorf("give up the address %s: %w", from, err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: to.AsSlice(), Mask: mask}}); err != nil {
		return fmt.Errorf("take the address %s: %w", to, err)
	}
	return nil
}
