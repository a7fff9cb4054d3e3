package check

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// KeyOf finds the key in the request as sent, and never guesses.
func TestKeyOf(t *testing.T) {
	plain := plan.Phase{Requests: []plan.Request{{Path: "/a?k=v&n=1", Port: 80, Header: map[string]string{"Host": "a.example", "X-Kind": "b"}}}}
	keyed := func(k plan.Keys) plan.Phase { return plan.Phase{Requests: plain.Requests, Keys: k} }
	byHeader := plan.Keys{Header: "X-Key", Values: []string{"one"}}
	byCookie := plan.Keys{Cookie: "id", Values: []string{"two"}}
	visitors := plan.Phase{Requests: []plan.Request{{Path: "/", Port: 80}}, Clients: plan.Clients{Count: 1, Cookies: true}}
	address := netip.MustParseAddr("10.0.0.9")
	for _, c := range []struct {
		key  model.Key
		in   plan.Phase
		want string
		ok   bool
	}{
		{model.Key{Variable: model.URI}, plain, "/a?k=v&n=1", true},
		{model.Key{Variable: model.Path}, plain, "/a", true},
		{model.Key{Variable: model.Argument, Name: "k"}, plain, "v", true},
		{model.Key{Variable: model.Argument, Name: "other"}, plain, "", true},
		{model.Key{Variable: model.Host}, plain, "a.example", true},
		{model.Key{Variable: model.RequestHeader, Name: "host"}, plain, "a.example", true},
		{model.Key{Variable: model.RequestHeader, Name: "x-kind"}, plain, "b", true},
		{model.Key{Variable: model.RequestHeader, Name: "x-key"}, keyed(byHeader), "one", true},
		{model.Key{Variable: model.Cookie, Name: "id"}, keyed(byCookie), "two", true},
		{model.Key{Variable: model.Cookie, Name: "other"}, plain, "", true},
		{model.Key{Variable: model.Cookie, Name: "id"}, visitors, "", false}, // set by the balancer
		{model.Key{Variable: model.ClientAddress}, plain, string(address.AsSlice()), true},
		{model.Key{Variable: model.ClientAddress, AsText: true}, plain, "10.0.0.9", true},
		{model.Key{Variable: model.ServerName}, plain, "", false},
		{model.Key{Variable: model.OtherVariable, Source: "$whatever"}, plain, "", false},
	} {
		h := history.History{Plan: plan.Plan{Phases: []plan.Phase{c.in}}, Env: history.Environment{ClientAddr: "10.0.0.9"}}
		value, ok := KeyOf(h, c.key, history.Hit{Seq: h.Plan.FirstHit(0)})
		assert.Equal(t, c.ok, ok, c.key)
		assert.Equal(t, c.want, string(value), c.key)
	}
}

// Each key is sent equally often; keys that lbproof cannot choose have no requirements.
func TestKeyRequirements(t *testing.T) {
	f := func(key model.Key) plan.Phase {
		t.Helper()
		reqs := KeyRequirements("p", key, plan.Request{Path: "/x"})
		if !assert.Len(t, reqs, 1) {
			return plan.Phase{}
		}
		assert.Equal(t, RequestsPerKey*keyCount, reqs[0].Phase.Count)
		assert.Contains(t, reqs[0].Detects, key.String())
		return reqs[0].Phase
	}
	assert.Equal(t, "/x?key=95", f(model.Key{Variable: model.URI}).Requests[95].Path)
	assert.Equal(t, "/x7", f(model.Key{Variable: model.Path}).Requests[7].Path)
	assert.Equal(t, "/x?user=0", f(model.Key{Variable: model.Argument, Name: "user"}).Requests[0].Path)
	assert.Equal(t, "x-key", f(model.Key{Variable: model.RequestHeader, Name: "x-key"}).Keys.Header)
	assert.Equal(t, "id", f(model.Key{Variable: model.Cookie, Name: "id"}).Keys.Cookie)
	assert.Zero(t, f(model.Key{Variable: model.ClientAddress}).Clients.AddressStep)
	assert.Equal(t, 256, f(model.Key{Variable: model.ClientAddress, Prefix: 24}).Clients.AddressStep)
	for _, v := range []model.Variable{"", model.OtherVariable, model.Host, model.ServerName, model.RequestID} {
		assert.Empty(t, KeyRequirements("p", model.Key{Variable: v}, plan.Request{Path: "/x"}))
	}
}

func TestFormatKey(t *testing.T) {
	address := model.Key{Variable: model.ClientAddress}
	assert.Equal(t, "10.0.0.9", FormatKey(address, []byte{10, 0, 0, 9}))
	assert.Equal(t, "10.0.0.9", FormatKey(model.Key{Variable: model.ClientAddress, AsText: true}, []byte("10.0.0.9")))
	assert.Equal(t, "four", FormatKey(model.Key{Variable: model.URI}, []byte("four")))
}

// Only known hash functions have a map, which leaves out servers without a place.
func TestNewHashMap(t *testing.T) {
	servers := []model.Server{{Host: "a", Port: 8000, Weight: 1}, {Host: "b", Port: 8000, Weight: 1}, {Host: "c", Port: 8000, Weight: 1, Backup: true}}
	f := func(hash model.Hash, members int, known bool) {
		t.Helper()
		pool := model.Pool{Balance: model.Balance{Kind: model.ByHash, Hash: &hash}, Servers: servers}
		in, up := HashMembers(pool)
		assert.Len(t, in, members)
		assert.Equal(t, []bool{true, true, false}[:members], up)
		m := NewHashMap(pool, in, up)
		assert.Equal(t, known, m != nil)
		if m != nil {
			assert.Contains(t, []int{0, 1}, m([]byte{10, 0, 0, 9})) // the backup gets no keys while others are up
		}
	}
	text, address := model.Key{Variable: model.URI}, model.Key{Variable: model.ClientAddress}
	f(model.Hash{Key: text, Function: model.CRC32Modulo}, 2, true)
	f(model.Hash{Key: text, Function: model.Ketama, Consistent: true}, 2, true)
	f(model.Hash{Key: address, Function: model.AddressOctets}, 2, true)
	f(model.Hash{Key: address, Function: model.WeightMap, IncludesBackups: true}, 3, true)
	f(model.Hash{Key: text, Function: model.NumberRing, IncludesBackups: true}, 3, true)
	f(model.Hash{Key: address, Consistent: true}, 2, false)
	servers[0].Port = 80 // the port may be omitted
	f(model.Hash{Key: text, Function: model.Ketama, Consistent: true}, 2, false)
}
