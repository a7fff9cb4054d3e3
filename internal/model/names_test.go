package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHostFlaw(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		assert.Equal(t, want, InvalidHostReason(host))
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

// A request that names no host is no request for a host that has no name, nor for one that another route names.
func TestRouteWithoutHost(t *testing.T) {
	c := Config{Balancer: "nginx", Routes: []Route{
		{Path: "/", Port: 80, Hosts: []string{"a.example"}, Pool: "a", DefaultHost: true}, {Path: "/", Port: 80, Hosts: []string{""}, Pool: "nameless"},
	}}
	r, _ := c.Route(80, "", "/x")
	assert.Equal(t, "a", r.Pool)
	c.Routes[1].Hosts = []string{"nginx"}
	r, _ = c.Route(80, "", "/x")
	assert.Equal(t, "nginx", r.Hosts[0], "requests ask for the balancer by its kind")
}
