package model

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInvalidHostReason(t *testing.T) {
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
	f(long+"."+long+"."+long+"."+long[:62], "it has 254 bytes (maximum 253)")
	f("a."+long+"a", "label "+long+"a has 64 bytes (maximum 63)")
	f("a..b", "it has an empty label")
	f(".a", "it has an empty label")
	f("", "it has an empty label")
	f("nginx@lbproof", "'@' is not a letter, digit, - or _")
	f("bäck", "'ä' is not a letter, digit, - or _")
	f("a b", "' ' is not a letter, digit, - or _")
	f("a.b-", "label b- starts or ends with -")
}

// A request without a host is for the balancer's name, not for a nameless host.
func TestRouteWithoutHost(t *testing.T) {
	c := Config{Balancer: "nginx", Routes: []Route{
		{Path: "/", Port: 80, Hosts: []string{"a.example"}, Pool: "a", DefaultHost: true},
		{Path: "/", Port: 80, Hosts: []string{""}, Pool: "nameless"},
	}}
	r, _ := c.Route(80, "", "/x")
	assert.Equal(t, "a", r.Pool)
	c.Routes[1].Hosts = []string{"nginx"}
	r, _ = c.Route(80, "", "/x")
	assert.Equal(t, "nginx", r.Hosts[0], "requests name the balancer by its kind")
}
