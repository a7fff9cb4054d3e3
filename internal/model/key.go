package model

import (
	"fmt"
	"strings"
)

// Key is the part of a request that is hashed or counted: requests with equal keys go to the same server, or share a
// limit. The zero value is no key.
type Key struct {
	Variable Variable `json:"variable,omitempty"`
	Name     string   `json:"name,omitempty"`    // of a RequestHeader, an Argument or a Cookie
	Prefix   int      `json:"prefix,omitempty"`  // bits of an IPv4 address; 0: the whole address
	AsText   bool     `json:"as_text,omitempty"` // of an address: its text, not its bytes
	Source   string   `json:"source,omitempty"`  // as the user wrote it; empty for a default
}

// IsEmpty reports whether there is no key.
func (k Key) IsEmpty() bool { return k.Variable == "" }

// IsAddress reports whether the key is the client address, which clients cannot choose freely.
func (k Key) IsAddress() bool { return k.Variable == ClientAddress }

// IsOptional reports whether requests may lack the key.
func (k Key) IsOptional() bool {
	return k.Variable == RequestHeader || k.Variable == Argument || k.Variable == Cookie
}

// String returns the key as the user wrote it, else its name.
func (k Key) String() string {
	switch {
	case k.Source != "":
		return k.Source
	case k.IsAddress() && k.Prefix > 0:
		return fmt.Sprintf("the client address, its %s if IPv4", describePrefix(k.Prefix))
	case k.IsAddress():
		return "the client address"
	case k.Variable == Host:
		return "the request host"
	case k.Variable == RequestHeader:
		return "header " + k.Name
	case k.Name != "":
		return fmt.Sprintf("%s %s", k.Variable, k.Name)
	}
	return fmt.Sprintf("the %s", k.Variable)
}

// describePrefix names the first n bits of an IPv4 address.
func describePrefix(n int) string {
	octets := map[int]string{8: "first octet", 16: "first 2 octets", 24: "first 3 octets"}
	if text, whole := octets[n]; whole {
		return text
	}
	return fmt.Sprintf("first %d bits", n)
}

// Exemption is the requests that a limit does not count because their key is empty; the zero value is none.
type Exemption struct {
	Kind   ExemptionKind `json:"kind,omitempty"`
	From   string        `json:"from,omitempty"`   // the map's source, as the user wrote it
	Values []string      `json:"values,omitempty"` // of From that map to an empty key, as the user wrote them
}

// ExemptionKind is why a key is empty.
type ExemptionKind string

// The kinds of exemptions.
const (
	KeyNotSent     ExemptionKind = "not sent"   // the request lacks it
	KeyMappedEmpty ExemptionKind = "mapped"     // From is one of Values
	KeyNotMapped   ExemptionKind = "not mapped" // From is not in the map
)

// IsSet reports whether requests with an empty key are exempt.
func (e Exemption) IsSet() bool { return e.Kind != "" }

// String describes the exempt requests; "" if there are none.
func (e Exemption) String() string {
	switch e.Kind {
	case KeyNotSent:
		return "requests without it"
	case KeyMappedEmpty:
		return fmt.Sprintf("requests whose %s is %s", e.From, strings.Join(e.Values, " or "))
	case KeyNotMapped:
		return fmt.Sprintf("requests whose %s is not in the map", e.From)
	}
	return ""
}
