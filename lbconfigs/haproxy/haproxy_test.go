package haproxy_test

import (
	"testing"

	"github.com/lbproof/lbproof/lbconfigs/balancertest"
)

// Each line is changed so that it makes other claims.
func TestEdits(t *testing.T) {
	f := func(line string, want ...string) {
		t.Helper()
		balancertest.Mutate(t, "haproxy", line, want...)
	}
	f("server a 10.0.0.1:80 check inter 5s fall 3 rise 2",
		"server a 10.0.0.1:80 check inter 5s fall 4 rise 2",
		"server a 10.0.0.1:80 check inter 5s fall 3 rise 3", "server a 10.0.0.1:80 check inter 10s fall 3 rise 2")
	f("timeout client 50000ms", "timeout client 30000ms")
	f("option forwardfor", "")
	f("backend api")
}

func FuzzHAProxy(f *testing.F) { balancertest.Fuzz(f, "haproxy", "haproxy.cfg") }
