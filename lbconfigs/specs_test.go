package lbconfigs_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/lbconfigs"
)

// A server that no backend can replace is reported with file and line, before anything starts.
func TestUnplaceable(t *testing.T) {
	f := func(host, want string) {
		t.Helper()
		text := "backend b\n  server a " + host + ":80\n"
		cfg, err := lbconfigs.Read(fstest.MapFS{"haproxy.cfg": {Data: []byte(text)}}, "haproxy.cfg", "")
		require.NoError(t, err)
		_, err = lbconfigs.Specs(cfg)
		assert.ErrorContains(t, err, "haproxy.cfg:2: server "+want)
	}
	f("localhost", "localhost:80 is the balancer's own host")
	f("LocalHost.", "LocalHost.:80 is the balancer's own host")
	f("ip6-loopback", "ip6-loopback:80 is the balancer's own host")
	f("10.1", "10.1:80 ends in a number but is not an IPv4 address")
	f("10.0.0.300", "10.0.0.300:80 ends in a number but is not an IPv4 address")
	f("0x7f", "0x7f:80 ends in a number but is not an IPv4 address")
	f("ipv6@back-01", `"ipv6@back-01" is neither a host name nor an IPv4 address`)
	f("abns@back-01", `"abns@back-01" is neither a host name nor an IPv4 address`)
}

// A host is one node, regardless of the spelling of its name, and distinct from lbproof's own nodes.
func TestNodesOfHosts(t *testing.T) {
	f := func(config string, want ...string) {
		t.Helper()
		cfg, err := lbconfigs.Read(fstest.MapFS{"haproxy.cfg": {Data: []byte(config)}}, "haproxy.cfg", "")
		require.NoError(t, err)
		specs, err := lbconfigs.Specs(cfg)
		require.NoError(t, err)
		var got []string
		for _, s := range specs {
			got = append(got, s.Name+" is "+s.Host()+" "+s.ContainerHostname)
		}
		assert.Equal(t, want, got)
	}
	f("backend b\n  server a BACK-01:80\n  server b back-01.:81\n  server c Back-02.:80\n  server d 10.0.0.1:80\n",
		"haproxy@lbproof is haproxy.lbproof.internal haproxy",
		"BACK-01 is back-01 ", "Back-02. is back-02 ", "10.0.0.1 is at-10-0-0-1.lbproof.internal ")
	f("backend b\n  server a HAProxy:80\n", "haproxy@lbproof is haproxy.lbproof.internal ", "HAProxy is haproxy ")
}
