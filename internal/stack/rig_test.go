package stack

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

func TestRefusalNamesTheUsersFile(t *testing.T) {
	spec := plan.Spec{Check: []string{"nginx", "-t"}, Files: map[string]string{"/etc/nginx/nginx.conf": "deploy/lb.conf"}}
	files := []model.File{{Name: "deploy/lb.conf"}}
	f := func(said, want string) {
		t.Helper()
		assert.Equal(t, want, refusal(spec, files, said))
	}
	f("[emerg] no such thing in /etc/nginx/nginx.conf:12\n", "deploy/lb.conf:12: refused by nginx -t:\n[emerg] no such thing in deploy/lb.conf:12")
	f("[emerg] getpwnam failed", "deploy/lb.conf: refused by nginx -t:\n[emerg] getpwnam failed")
}

func TestTail(t *testing.T) {
	assert.Equal(t, "b\nc", tail("a\nb\nc\n", 2))
	assert.Equal(t, "a", tail("a", 2))
}

// What balancers complain of is told with the user's file and line; the rest of their logs is not.
func TestComplaints(t *testing.T) {
	spec := plan.Spec{Files: map[string]string{"/etc/nginx/nginx.conf": "lb.conf", "/etc/haproxy/haproxy.cfg": "lb.cfg"}}
	f := func(log string, want ...model.Said) {
		t.Helper()
		assert.Equal(t, want, complaints(spec, log, false))
	}
	f("nginx: the configuration file /etc/nginx/nginx.conf syntax is ok\n")
	f("2026/11/21 [emerg] 1#1: unknown directive \"x\" in /etc/nginx/nginx.conf:7\n",
		model.Said{Pos: model.Pos{File: "lb.conf", Line: 7}, Text: `2026/11/21 [emerg] 1#1: unknown directive "x" in lb.conf:7`})
	f("[NOTICE] (1) : hello\n[ALERT] (1) : config : parsing [/etc/haproxy/haproxy.cfg:48] : bad\n[WARNING] (1) : Server b/s is DOWN, reason: x\n",
		model.Said{Pos: model.Pos{File: "lb.cfg", Line: 48}, Text: "[ALERT] (1) : config : parsing [lb.cfg:48] : bad"})
	f("\x1b[90m2026\x1b[0m \x1b[31mERR\x1b[0m no\n", model.Said{Text: "2026 ERR no"})
	assert.Equal(t, []model.Said{{Text: "just this"}}, complaints(spec, "just this\n", true))
	assert.Equal(t, "HAProxy version 2.6.12 2026/10/17", VersionLine("\nHAProxy version 2.6.12   2026/10/17\nStatus: x\n"))
}

func TestAddressesOfTheConfiguration(t *testing.T) {
	taken, err := addressesOf([]plan.Spec{{Address: "10.0.1.9"}, {Name: "b1"}, {Address: "10.0.1.1"}, {Address: "10.0.1.9"}})
	require.NoError(t, err)
	assert.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.1.9"), netip.MustParseAddr("10.0.1.1")}, taken)
	_, err = addressesOf([]plan.Spec{{Name: "x", Address: "::1"}})
	assert.ErrorContains(t, err, "no IPv4 address")
}
