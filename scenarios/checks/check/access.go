package check

import (
	"net/netip"
	"slices"

	"github.com/lbproof/lbproof/internal/model"
)

// hasUserList reports whether a list of users decides which requests to a route pass.
func hasUserList(r model.Route) bool { return r.Auth != nil && r.Auth.Kind == model.AuthUsers }

// isAllowed reports whether the first matching rule allows an address; without a match it is allowed.
func isAllowed(rules []model.Access, from netip.Addr) bool {
	for _, a := range rules {
		network, err := netip.ParsePrefix(a.Clients)
		if addr, addrErr := netip.ParseAddr(a.Clients); addrErr == nil && err != nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if a.Clients == "all" || err == nil && network.Contains(from) {
			return a.Allow
		}
	}
	return true
}

// allowedAddress finds an address of the balancer's own host that the rules allow.
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

// LastAddress returns the second-to-last address of a network, which is unlikely to be in use.
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

// IsOpaque reports whether something that lbproof cannot read decides which requests to a route pass.
func IsOpaque(r model.Route) bool {
	return r.MayRefuse && len(r.Limits)+len(r.Access)+len(r.Rules) == 0 && r.Auth == nil
}

// NeedsCredentials reports whether requests to a route pass only with credentials that lbproof does not have: a program
// or a list of users decides.
func NeedsCredentials(r model.Route) bool {
	if hasUserList(r) {
		r.Auth = nil
	}
	return IsOpaque(r)
}

// CredentialsHint tells the user how to pass a route that needs credentials.
const CredentialsHint = "something that lbproof cannot read controls access; set --header to send credentials"

// AssumeCredentials returns the routes as requests with the required credentials see them.
func AssumeCredentials(routes []model.Route) []model.Route {
	routes = slices.Clone(routes)
	for i, r := range routes {
		routes[i].MayRefuse = r.MayRefuse && !NeedsCredentials(r)
	}
	return routes
}
