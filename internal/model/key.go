package model

import (
	"fmt"
	"strings"
)

// Key is what requests are told apart by: those with equal keys go to one server, or share a limit. The zero value is
// no key.
type Key struct {
	Variable Variable `json:"variable,omitempty"`
	Name     string   `json:"name,omitempty"`    // of a RequestHeader, an Argument or a Cookie
	Prefix   int      `json:"prefix,omitempty"`  // bits of an IPv4 address that count; 0 is all of any address
	AsText   bool     `json:"as_text,omitempty"` // of an address: as people write it, and not its bytes
	Source   string   `json:"source,omitempty"`  // as the user wrote it; empty where the balancer has no word for it
}

// IsEmpty reports whether there is no key at all.
func (k Key) IsEmpty() bool { return k.Variable == "" }

// IsAddress reports whether the key is the client's address, which no client can choose freely.
func (k Key) IsAddress() bool { return k.Variable == ClientAddress }

// IsOptional reports whether clients may leave the key out of their requests.
func (k Key) IsOptional() bool {
	return k.Variable == RequestHeader || k.Variable == Argument || k.Variable == Cookie
}

// String is the key as the user wrote it, else as people call it.
func (k Key) String() string {
	switch {
	case k.Source != "":
		return k.Source
	case k.IsAddress() && k.Prefix > 0:
		return fmt.Sprintf("the client's address (IPv4: %s)", describePrefix(k.Prefix))
	case k.IsAddress():
		return "the client's address"
	case k.Variable == Host:
		return "the request's host"
	case k.Variable == RequestHeader:
		return "the header " + k.Name
	}
	return strings.TrimSpace(fmt.Sprintf("the %s %s", k.Variable, k.Name))
}

// describePrefix names the first bits of an IPv4 address.
func describePrefix(n int) string {
	octets := map[int]string{8: "its first octet", 16: "its first two octets", 24: "its first three octets"}
	if text, whole := octets[n]; whole {
		return text
	}
	return fmt.Sprintf("its first %d bits", n)
}

// Exemption is which requests a limit lets through because their key is empty; the zero value is none.
type Exemption struct {
	Kind   ExemptionKind `json:"kind,omitempty"`
	From   string        `json:"from,omitempty"`   // what a map makes the key of, as the user wrote it
	Values []string      `json:"values,omitempty"` // of From, that the map makes an empty key of, as the user wrote them
}

// ExemptionKind is why a key is empty.
type ExemptionKind string

// The kinds of exemptions.
const (
	KeyNotSent     ExemptionKind = "not sent"   // the request does not bring it
	KeyMappedEmpty ExemptionKind = "mapped"     // its From is one of Values
	KeyNotMapped   ExemptionKind = "not mapped" // its From is in no line of the map
)

// IsSet reports whether the limit lets requests with an empty key through.
func (e Exemption) IsSet() bool { return e.Kind != "" }

// String says which requests these are; empty where there are none.
func (e Exemption) String() string {
	switch e.Kind {
	case KeyNotSent:
		return "those that do not bring it"
	case KeyMappedEmpty:
		return fmt.Sprintf("those whose %s is %s", e.From, strings.Join(e.Values, " or "))
	case KeyNotMapped:
		return fmt.Sprintf("those whose %s the map does not name", e.From)
	}
	return ""
}
