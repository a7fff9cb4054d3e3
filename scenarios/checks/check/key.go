package check

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
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

// Keys that are clients' addresses, in the readers' words.
const (
	addressKey  = "the client's address"
	NetworkKey  = "the client's address (IPv4: its first three octets)"
	SendsPerKey = 3  // times each key is sent
	manyKeys    = 96 // distinct ones
	networkSize = 256
)

// KeyTrials send many keys, each more than once.
func KeyTrials(pool model.Pool, r plan.Request) []Trial {
	t := Trial{Kind: plan.KindKeys, About: pool.Name, Load: plan.Phase{Count: SendsPerKey * manyKeys, Concurrency: TurnsInFlight, Requests: []plan.Request{r}}}
	t.Shows = fmt.Sprintf("one of %d keys (%s) of %s at another server than the hash says, or at two", manyKeys, pool.Key, pool.Name)
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(pool.Key, "$http_"), "hdr("), ")")
	switch {
	case IsAddressKey(pool.Key):
		t.Load.Clients = plan.Clients{Count: manyKeys, Addresses: true}
		if pool.Key == NetworkKey {
			t.Load.Clients.Apart = networkSize
		}
	case pool.Key == "$request_uri", pool.Key == "$uri", pool.Key == "uri", strings.HasPrefix(pool.Key, "$arg_"):
		t.Load.Requests = nil
		query := "?key="
		switch argument, is := strings.CutPrefix(pool.Key, "$arg_"); {
		case is:
			query = "?" + argument + "="
		case pool.Key != "$request_uri":
			query = ""
		}
		for i := range manyKeys {
			one := r
			one.Path += query + strconv.Itoa(i)
			t.Load.Requests = append(t.Load.Requests, one)
		}
	case strings.HasPrefix(pool.Key, "$http_"), strings.HasPrefix(pool.Key, "hdr("):
		t.Load.Keys = plan.Keys{Header: strings.ReplaceAll(name, "_", "-"), Values: MadeUpKeys(manyKeys)}
	case strings.HasPrefix(pool.Key, "$cookie_"):
		t.Load.Keys = plan.Keys{Cookie: strings.TrimPrefix(pool.Key, "$cookie_"), Values: MadeUpKeys(manyKeys)}
	default:
		return nil
	}
	return []Trial{t}
}

func MadeUpKeys(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("key-%d", i+1)
	}
	return values
}

func IsAddressKey(key string) bool {
	return slices.Contains([]string{addressKey, NetworkKey, "$remote_addr", "$binary_remote_addr", "src"}, key)
}

// KeyOf is the value of a key of a hit's request; ok is false where lbproof does not know how to find it.
func KeyOf(h history.History, key string, hit history.Hit) (value []byte, ok bool) {
	l := h.Plan.Phases[hit.Load]
	r := l.Request(hit.Index)
	if value, ok := KeyIn(r, key); ok {
		return value, true
	}
	name, has := strings.CutPrefix(key, "$http_")
	if inside, is := strings.CutPrefix(key, "hdr("); is {
		name, has = strings.TrimSuffix(inside, ")"), true
	}
	switch {
	case IsAddressKey(key):
		address, err := netip.ParseAddr(ClientAddress(h, hit.Load, hit.Seq))
		if key == "$remote_addr" {
			return []byte(address.String()), err == nil
		}
		return address.AsSlice(), err == nil
	case key == "$host", key == "$http_host":
		return []byte(HostOf(h, r)), true
	case has:
		return []byte(HeaderSent(l, r, strings.ReplaceAll(name, "_", "-"), hit.Index)), true
	case strings.HasPrefix(key, "$cookie_"):
		if l.Keys.Cookie == strings.TrimPrefix(key, "$cookie_") {
			return []byte(l.Key(hit.Index)), true
		}
		return nil, r.Header["Cookie"] == "" && !l.Clients.Cookies
	}
	return nil, false
}

// KeyIn is the value of a key that is a part of a request's path.
func KeyIn(r plan.Request, key string) (value []byte, ok bool) {
	path, query, _ := strings.Cut(r.Path, "?")
	switch {
	case key == "$request_uri":
		return []byte(r.Path), true
	case key == "$uri", key == "uri":
		return []byte(path), true
	case strings.HasPrefix(key, "$arg_"):
		values, err := url.ParseQuery(query)
		return []byte(values.Get(strings.TrimPrefix(key, "$arg_"))), err == nil
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

// ReadableKey is a key as people write it.
func ReadableKey(kind string, key []byte) string {
	if address, ok := netip.AddrFromSlice(key); ok && IsAddressKey(kind) {
		return address.String()
	}
	return string(key)
}

// HeaderOfKey is the request header field that a key is.
func HeaderOfKey(key string) (string, bool) {
	if name, ok := strings.CutPrefix(key, "$http_"); ok {
		return strings.ReplaceAll(name, "_", "-"), true
	}
	if name, ok := strings.CutPrefix(key, "hdr("); ok {
		return strings.TrimSuffix(name, ")"), true
	}
	return strings.CutPrefix(key, "the header ")
}
