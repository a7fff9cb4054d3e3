package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// ReservedDomain is the domain of lbproof's own nodes on a run's network. A configuration may name no host in it.
const ReservedDomain = "lbproof.internal"

// NormalizeHost is a host name in small letters and without the dot that may end it: equal of all names of one host.
func NormalizeHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// SameHost reports whether two names are those of one host.
func SameHost(a, b string) bool { return NormalizeHost(a) == NormalizeHost(b) }

// IsReservedHost reports whether a host name is in the domain of lbproof's own nodes.
func IsReservedHost(host string) bool {
	host = NormalizeHost(host)
	return host == ReservedDomain || strings.HasSuffix(host, "."+ReservedDomain)
}

// Sizes of host names, bytes (RFC 1035, section 2.3.4: 255 with the length of each label and of the root).
const (
	maxNameBytes  = 253
	maxLabelBytes = 63
)

// nameCharacters is what the resolvers of glibc and Go let through in a name.
const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// InvalidHostReason says why no name server can know a host by a name; empty for a name that one can know, and for an address.
func InvalidHostReason(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > maxNameBytes {
		return fmt.Sprintf("the name has %d bytes, and a host name has %d at most", len(name), maxNameBytes)
	}
	for label := range strings.SplitSeq(name, ".") {
		foreign := strings.IndexFunc(label, func(r rune) bool { return !strings.ContainsRune(nameCharacters, r) })
		switch {
		case label == "":
			return "nothing stands before, between or after its dots"
		case foreign >= 0:
			return fmt.Sprintf("%q is no letter, digit, - or _", []rune(label[foreign:])[0])
		case len(label) > maxLabelBytes:
			return fmt.Sprintf("its part %s has %d bytes, and a part has %d at most", label, len(label), maxLabelBytes)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Sprintf("its part %s begins or ends with -", label)
		}
	}
	return ""
}
