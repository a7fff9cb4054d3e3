package check

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// ClientAddress returns the source address of a request.
func ClientAddress(h history.History, phase int, seq uint64) string {
	l := h.Plan.Phases[phase]
	network, err := netip.ParsePrefix(h.Env.ClientNetwork)
	if !l.Clients.OwnAddresses || err != nil {
		return h.Env.ClientAddr
	}
	return l.Clients.Address(network, l.ClientIndex(int(seq-h.Plan.FirstHit(phase)))).String()
}

// RequestsPerKey is the number of requests with each key.
const RequestsPerKey = 3

// keyCount is the number of distinct keys.
const keyCount = 96

// KeyRequirements sends many keys to a pool or a split, each more than once. It returns nil if lbproof cannot choose
// the key of a request.
func KeyRequirements(to string, key model.Key, r plan.Request) []Requirement {
	t := Requirement{
		Kind: plan.KindKeys, About: to,
		Phase: plan.Phase{Count: RequestsPerKey * keyCount, Concurrency: RotationInFlight, Requests: []plan.Request{r}},
	}
	t.Detects = fmt.Sprintf("one of %d keys (%s) of %s that does not reach the hashed server, or reaches two",
		keyCount, key, to)
	switch key.Variable {
	case model.ClientAddress:
		t.Phase.Clients = plan.Clients{Count: keyCount, OwnAddresses: true}
		if key.Prefix > 0 {
			t.Phase.Clients.AddressStep = 1 << (addressBits - key.Prefix)
		}
	case model.URI:
		t.Phase.Requests = numberPaths(r, "?key=")
	case model.Path:
		t.Phase.Requests = numberPaths(r, "")
	case model.Argument:
		t.Phase.Requests = numberPaths(r, "?"+key.Name+"=")
	case model.RequestHeader:
		t.Phase.Keys = plan.Keys{Header: key.Name, Values: GenerateKeys(keyCount)}
	case model.Cookie:
		t.Phase.Keys = plan.Keys{Cookie: key.Name, Values: GenerateKeys(keyCount)}
	default:
		return nil
	}
	return []Requirement{t}
}

// addressBits is the length of an IPv4 address.
const addressBits = 32

// numberPaths returns requests that differ by a number at the end of their path.
func numberPaths(r plan.Request, before string) []plan.Request {
	var all []plan.Request
	for i := range keyCount {
		one := r
		one.Path += before + strconv.Itoa(i)
		all = append(all, one)
	}
	return all
}

// GenerateKeys returns n distinct keys.
func GenerateKeys(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("key-%d", i+1)
	}
	return values
}

// KeyOf returns the key of a hit's request; ok is false if lbproof does not know how to find it.
func KeyOf(h history.History, key model.Key, hit history.Hit) (value []byte, ok bool) {
	l := h.Plan.Phases[hit.Phase]
	r := l.Request(hit.Index)
	if value, ok := PathKey(r, key); ok {
		return value, true
	}
	isHost := key.Variable == model.RequestHeader && strings.EqualFold(key.Name, "Host")
	switch {
	case key.IsAddress():
		address, err := netip.ParseAddr(ClientAddress(h, hit.Phase, hit.Seq))
		if key.AsText {
			return []byte(address.String()), err == nil
		}
		return address.AsSlice(), err == nil
	case key.Variable == model.Host, isHost:
		return []byte(HostOf(h, r)), true
	case key.Variable == model.RequestHeader:
		return []byte(SentHeader(l, r, key.Name, hit.Index)), true
	case key.Variable == model.Cookie:
		if l.Keys.Cookie == key.Name {
			return []byte(l.Key(hit.Index)), true
		}
		return nil, r.Header["Cookie"] == "" && !l.Clients.Cookies
	}
	return nil, false
}

// PathKey returns a key that is part of a request's path.
func PathKey(r plan.Request, key model.Key) (value []byte, ok bool) {
	path, query, _ := strings.Cut(r.Path, "?")
	switch key.Variable {
	case model.URI:
		return []byte(r.Path), true
	case model.Path:
		return []byte(path), true
	case model.Argument:
		values, err := url.ParseQuery(query)
		return []byte(values.Get(key.Name)), err == nil
	}
	return nil, false
}

// SentHeader returns the value of a header field of a request as sent.
func SentHeader(l plan.Phase, r plan.Request, name string, index int) string {
	if strings.EqualFold(l.Keys.Header, name) {
		return l.Key(index)
	}
	for k, v := range r.Header {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// FormatKey formats the value of a key for a person.
func FormatKey(key model.Key, value []byte) string {
	if address, ok := netip.AddrFromSlice(value); ok && key.IsAddress() {
		return address.String()
	}
	return string(value)
}
