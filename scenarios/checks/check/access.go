package check

import (
	"net/netip"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
)

// hasUserList says whether a list of users decides which of a route's requests pass.
func hasUserList(r model.Route) bool { return r.Auth != nil && r.Auth.Kind == model.AuthUsers }

// isAllowed says whether the first rule that fits lets an address in; where none fits, it is.
func isAllowed(rules []model.Access, from netip.Addr) bool {
	for _, a := range rules {
		network, err := netip.ParsePrefix(a.Clients)
		if addr, alone := netip.ParseAddr(a.Clients); alone == nil && err != nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if a.Clients == "all" || err == nil && network.Contains(from) {
			return a.Allow
		}
	}
	return true
}

// allowedAddress is an address of the balancer's own host that is let in.
func allowedAddress(rules []model.Access) (from string, ok bool) {
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	for _, a := range rules {
		if network, err := netip.ParsePrefix(a.Clients); err == nil && network.Addr().Is4() {
			all = append(all, LastAddress(network))
		} else if addr, err := netip.ParseAddr(a.Clients); err == nil && addr.Is4() {
			all = append(all, addr)
		}
	}
	for _, addr := range all {
		if isAllowed(rules, addr) {
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

// IsOpaque says whether something that lbproof cannot read decides on the route's requests.
func IsOpaque(r model.Route) bool {
	return r.MayRefuse && len(r.Limits)+len(r.Access)+len(r.Rules) == 0 && r.Auth == nil
}

// NeedsCredentials says whether a program or a list of users decides which of a route's requests pass, and nothing that
// lbproof could meet.
func NeedsCredentials(r model.Route) bool {
	if hasUserList(r) {
		r.Auth = nil
	}
	return IsOpaque(r)
}

// CredentialsHint says how what is shut is opened.
const CredentialsHint = "something that lbproof cannot read decides which requests pass; --header gives them what it asks for"

// AssumeCredentials are routes as they are for requests that something lets through which lbproof cannot read.
func AssumeCredentials(routes []model.Route) []model.Route {
	routes = slices.Clone(routes)
	for i, r := range routes {
		routes[i].MayRefuse = r.MayRefuse && !NeedsCredentials(r)
	}
	return routes
}
