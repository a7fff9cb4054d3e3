package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// ReservedDomain is the domain of lbproof's own nodes in a run. Configurations must not name hosts in it.
const ReservedDomain = "lbproof.internal"

// NormalizeHost returns a host name in lower case and without its trailing dot.
func NormalizeHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// SameHost reports whether two names denote the same host.
func SameHost(a, b string) bool { return NormalizeHost(a) == NormalizeHost(b) }

// IsReservedHost reports whether a host name is in ReservedDomain.
func IsReservedHost(host string) bool {
	host = NormalizeHost(host)
	return host == ReservedDomain || strings.HasSuffix(host, "."+ReservedDomain)
}

// Maximum sizes, in bytes (RFC 1035, section 2.3.4: 255 with the length of each label and of the root).
const (
	maxNameBytes  = 253
	maxLabelBytes = 63
)

// nameCharacters are those that the resolvers of glibc and Go accept.
const nameCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// InvalidHostReason explains why a host name cannot be resolved; "" for a valid name or an address.
func InvalidHostReason(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > maxNameBytes {
		return fmt.Sprintf("it has %d bytes (maximum %d)", len(name), maxNameBytes)
	}
	for label := range strings.SplitSeq(name, ".") {
		foreign := strings.IndexFunc(label, func(r rune) bool { return !strings.ContainsRune(nameCharacters, r) })
		switch {
		case label == "":
			return "it has an empty label"
		case foreign >= 0:
			return fmt.Sprintf("%q is not a letter, digit, - or _", []rune(label[foreign:])[0])
		case len(label) > maxLabelBytes:
			return fmt.Sprintf("label %s has %d bytes (maximum %d)", label, len(label), maxLabelBytes)
		case label[0] == '-' || label[len(label)-1] == '-':
			return fmt.Sprintf("label %s starts or ends with -", label)
		}
	}
	return ""
}
