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

// ClientAddress is where a request came from.
func ClientAddress(h history.History, load int, seq uint64) string {
	l := h.Plan.Phases[load]
	network, err := netip.ParsePrefix(h.Env.Clients)
	if !l.Clients.Addresses || err != nil {
		return h.Env.Client
	}
	return l.Clients.Address(network, l.Client(int(seq-h.Plan.First(load)))).String()
}

// SendsPerKey is how many times each key is sent.
const SendsPerKey = 3

// manyKeys is how many distinct keys are sent.
const manyKeys = 96

// KeyTrials send many keys to a pool or a split, each more than once. There are none where lbproof cannot choose a
// request's key.
func KeyTrials(to string, key model.Key, r plan.Request) []Trial {
	t := Trial{
		Kind: plan.KindKeys, About: to,
		Load: plan.Phase{Count: SendsPerKey * manyKeys, Concurrency: TurnsInFlight, Requests: []plan.Request{r}},
	}
	t.Shows = fmt.Sprintf("one of %d keys (%s) of %s at another server than the hash says, or at two", manyKeys, key, to)
	switch key.Variable {
	case model.ClientAddress:
		t.Load.Clients = plan.Clients{Count: manyKeys, Addresses: true}
		if key.Prefix > 0 {
			t.Load.Clients.Apart = 1 << (addressBits - key.Prefix)
		}
	case model.URI:
		t.Load.Requests = numbered(r, "?key=")
	case model.Path:
		t.Load.Requests = numbered(r, "")
	case model.Argument:
		t.Load.Requests = numbered(r, "?"+key.Name+"=")
	case model.RequestHeader:
		t.Load.Keys = plan.Keys{Header: key.Name, Values: MadeUpKeys(manyKeys)}
	case model.Cookie:
		t.Load.Keys = plan.Keys{Cookie: key.Name, Values: MadeUpKeys(manyKeys)}
	default:
		return nil
	}
	return []Trial{t}
}

// addressBits is the length of an IPv4 address.
const addressBits = 32

// numbered are requests that are told apart by a number at the end of their path.
func numbered(r plan.Request, before string) []plan.Request {
	var all []plan.Request
	for i := range manyKeys {
		one := r
		one.Path += before + strconv.Itoa(i)
		all = append(all, one)
	}
	return all
}

func MadeUpKeys(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("key-%d", i+1)
	}
	return values
}

// KeyOf is the value of a key of a hit's request; ok is false where lbproof does not know how to find it.
func KeyOf(h history.History, key model.Key, hit history.Hit) (value []byte, ok bool) {
	l := h.Plan.Phases[hit.Load]
	r := l.Request(hit.Index)
	if value, ok := KeyIn(r, key); ok {
		return value, true
	}
	isHost := key.Variable == model.RequestHeader && strings.EqualFold(key.Name, "Host")
	switch {
	case key.IsAddress():
		address, err := netip.ParseAddr(ClientAddress(h, hit.Load, hit.Seq))
		if key.AsText {
			return []byte(address.String()), err == nil
		}
		return address.AsSlice(), err == nil
	case key.Variable == model.Host, isHost:
		return []byte(HostOf(h, r)), true
	case key.Variable == model.RequestHeader:
		return []byte(HeaderSent(l, r, key.Name, hit.Index)), true
	case key.Variable == model.Cookie:
		if l.Keys.Cookie == key.Name {
			return []byte(l.Key(hit.Index)), true
		}
		return nil, r.Header["Cookie"] == "" && !l.Clients.Cookies
	}
	return nil, false
}

// KeyIn is the value of a key that is a part of a request's path.
func KeyIn(r plan.Request, key model.Key) (value []byte, ok bool) {
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

// HeaderSent is the value of a header field that a request was sent with.
func HeaderSent(l plan.Phase, r plan.Request, name string, index int) string {
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

// ReadableKey is a key's value as people write it.
func ReadableKey(key model.Key, value []byte) string {
	if address, ok := netip.AddrFromSlice(value); ok && key.IsAddress() {
		return address.String()
	}
	return string(value)
}
