package stack

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/lb"
)

// Addresses that the configuration names fit into one network where they can, and nobody else gets one of them.
func TestNetworkOfAddresses(t *testing.T) {
	f := func(want string, addresses ...string) {
		t.Helper()
		var specs []lb.Spec
		for _, a := range addresses {
			specs = append(specs, lb.Spec{Name: a, Address: a})
		}
		groups, err := groupAddresses(specs)
		require.NoError(t, err)
		got := ""
		for _, taken := range groups {
			prefix := cover(taken)
			gateway, dynamic, ok := room(prefix, taken)
			got += fmt.Sprint(prefix, " ")
			require.True(t, ok)
			assert.True(t, prefix.Contains(gateway) && prefix.Overlaps(dynamic))
			assert.False(t, dynamic.Contains(gateway))
			for _, a := range taken {
				assert.NotEqual(t, a, gateway)
				assert.False(t, dynamic.Contains(a), "%s could be given away", a)
			}
		}
		assert.Equal(t, want, got)
	}
	f("")
	f("10.0.1.0/24 ", "10.0.1.10", "10.0.1.11")
	f("10.0.1.0/24 ", "10.0.1.1", "10.0.1.254")
	f("10.20.0.0/21 ", "10.20.0.11", "10.20.4.12")
	f("10.0.0.0/8 ", "10.0.0.1", "10.200.0.1")
	f("10.0.1.0/24 192.168.1.0/24 ", "10.0.1.10", "192.168.1.10")
	_, err := groupAddresses([]lb.Spec{{Name: "x", Address: "::1"}})
	assert.ErrorContains(t, err, "no IPv4 address")
}

func TestNoRoom(t *testing.T) {
	var all []netip.Addr
	for i := 1; i < 255; i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	_, _, ok := room(cover(all), all)
	assert.False(t, ok)
}
