package lb

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHostFlaw(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		assert.Equal(t, want, HostFlaw(host))
	}
	long := strings.Repeat("a", 63)
	f("back-01", "")
	f("BACK_01.example.com.", "")
	f("10.0.0.1", "")
	f("fd00::1", "")
	f(long, "")
	f(long+"."+long+"."+long+"."+long[:61]+".", "")
	f(long+"."+long+"."+long+"."+long[:62], "the name has 254 bytes, and a host name has 253 at most")
	f("a."+long+"a", "its part "+long+"a has 64 bytes, and a part has 63 at most")
	f("a..b", "nothing stands before, between or after its dots")
	f(".a", "nothing stands before, between or after its dots")
	f("", "nothing stands before, between or after its dots")
	f("nginx@lbproof", "'@' is no letter, digit, - or _")
	f("bäck", "'ä' is no letter, digit, - or _")
	f("a b", "' ' is no letter, digit, - or _")
	f("a.b-", "its part b- begins or ends with -")
}

// The names of lbproof's own nodes are those of no host, and their host names lie in a domain of their own.
func TestOwnNames(t *testing.T) {
	for _, short := range []string{"nginx", "nginx-2", "redis"} {
		node := OwnName(short)
		assert.NotEmpty(t, HostFlaw(node), "no configuration can name it")
		assert.Equal(t, short, Short(node))
		assert.Equal(t, short+"."+Reserved, HostOf(node))
		assert.True(t, InReserved(HostOf(node)))
	}
	assert.Equal(t, "worker.lbproof.internal", HostOf(WorkerName))
	assert.True(t, InReserved("LBproof.Internal."))
	assert.False(t, InReserved("mylbproof.internal"))
	assert.True(t, SameHost("BACK-01.", "back-01"))
	assert.False(t, SameHost("back-01", "back-01.example.com"))
}

// A request that names no host is no request for a host that has no name, nor for one that another route names.
func TestRouteWithoutHost(t *testing.T) {
	c := Config{Balancer: "nginx", Routes: []Route{
		{Path: "/", Port: 80, Hosts: []string{"a.example"}, Pool: "a", Fallback: true}, {Path: "/", Port: 80, Hosts: []string{""}, Pool: "nameless"},
	}}
	r, _ := c.Route(80, "", "/x")
	assert.Equal(t, "a", r.Pool)
	c.Routes[1].Hosts = []string{"nginx"}
	r, _ = c.Route(80, "", "/x")
	assert.Equal(t, "nginx", r.Hosts[0], "requests ask for the balancer by its kind")
}
