package check

import (
	"net/netip"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
)

// byUsers says whether a list of users decides which of a route's requests pass.
func byUsers(r model.Route) bool { return r.Auth != nil && r.Auth.Kind == model.AuthUsers }

// letIn says whether the first rule that fits lets an address in; where none fits, it is.
func letIn(rules []model.Access, from netip.Addr) bool {
	for _, a := range rules {
		network, err := netip.ParsePrefix(a.From)
		if addr, alone := netip.ParseAddr(a.From); alone == nil && err != nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if a.From == "all" || err == nil && network.Contains(from) {
			return a.Allow
		}
	}
	return true
}

// welcome is an address of the balancer's own host that is let in.
func welcome(rules []model.Access) (from string, ok bool) {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, a := range rules {
		if network, err := netip.ParsePrefix(a.From); err == nil && network.Addr().Is4() {
			all = append(all, LastAddress(network))
		} else if addr, err := netip.ParseAddr(a.From); err == nil && addr.Is4() {
			all = append(all, addr)
		}
	}
	for _, addr := range all {
		if letIn(rules, addr) {
			return addr.String(), true
		}
	}
	return "", false
}

// LastAddress is the last address of a network but one: hardly anybody else's.
func LastAddress(network netip.Prefix) netip.Addr {
	b := network.Masked().Addr().As4()
	host := uint32(1)<<(32-network.Bits()) - 1
	for i := range b {
		b[i] |= byte(host >> (8 * (3 - i)))
	}
	if network.Bits() < 31 {
		b[3]--
	}
	return netip.AddrFrom4(b)
}

// IsProgrammed says whether something that lbproof cannot read decides on the route's requests.
func IsProgrammed(r model.Route) bool {
	return r.Guarded && len(r.Limits)+len(r.Access)+len(r.Rules) == 0 && r.Auth == nil
}

// IsShut says whether a program or a list of users decides which of a route's requests pass, and nothing that
// lbproof could meet.
func IsShut(r model.Route) bool {
	if byUsers(r) {
		r.Auth = nil
	}
	return IsProgrammed(r)
}

// HowToOpen says how what is shut is opened.
const HowToOpen = "something that lbproof cannot read decides which requests pass; --header gives them what it asks for"

// Opened are routes as they are for requests that something lets through which lbproof cannot read.
func Opened(routes []model.Route) []model.Route {
	routes = slices.Clone(routes)
	for i, r := range routes {
		routes[i].Guarded = r.Guarded && !IsShut(r)
	}
	return routes
}
