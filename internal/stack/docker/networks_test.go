package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lbproof/lbproof/internal/plan"
)

// Configured addresses that are close to each other share a network; no other node gets one of them, and no network
// contains an address of the machine.
func TestNetworksOfAddresses(t *testing.T) {
	f := func(want, foreign string, clients int, addresses ...string) {
		t.Helper()
		taken, others := parseAll(addresses), parseAll(strings.Fields(foreign))
		nets, err := planSubnets(taken, clients, others)
		require.NoError(t, err)
		got := ""
		for i, n := range nets {
			got += n.config.Subnet.String() + " "
			if n.main {
				assert.Contains(t, n.addresses, taken[0])
				got += "main "
			}
			assert.True(t, n.config.Subnet.Contains(n.config.Gateway) && n.config.Subnet.Overlaps(n.config.IPRange))
			assert.False(t, n.config.IPRange.Contains(n.config.Gateway))
			for _, a := range taken {
				assert.Equal(t, slices.Contains(n.addresses, a), n.config.Subnet.Contains(a))
				assert.NotEqual(t, a, n.config.Gateway)
				assert.False(t, n.config.IPRange.Contains(a), "%s could be given away", a)
			}
			for _, a := range others {
				assert.False(t, n.config.Subnet.Contains(a), "%s is the machine's", a)
			}
			for _, other := range nets[:i] {
				assert.False(t, other.config.Subnet.Overlaps(n.config.Subnet))
			}
		}
		assert.Equal(t, want, strings.TrimSpace(got))
	}
	f("", "", 0)
	f("10.0.1.0/24 main", "", 0, "10.0.1.10", "10.0.1.11")
	f("10.0.1.0/24 main", "", 0, "10.0.1.1", "10.0.1.254", "10.0.1.1")
	f("10.20.0.0/21 main", "", 0, "10.20.0.11", "10.20.4.12")
	f("10.0.0.0/24 main 10.200.0.0/24", "", 0, "10.0.0.1", "10.200.0.1")
	f("10.200.0.0/24 main 10.0.0.0/24", "", 0, "10.200.0.1", "10.0.0.1")
	f("10.0.1.0/24 main 192.168.1.0/24", "", 0, "10.0.1.10", "192.168.1.10")
	f("203.0.113.0/24 main 203.128.1.0/24", "", 0, "203.0.113.5", "203.128.1.1")
	f("198.51.100.0/24 main 169.254.169.0/24 8.8.8.0/24", "10.0.0.1", 0, "198.51.100.10", "169.254.169.254", "8.8.8.8")
	// Clients widen the main network, which then includes groups that it overlaps.
	f("10.0.0.0/18 main", "", 5000, "10.0.0.1", "10.0.20.1", "10.0.31.1")
	f("10.0.64.0/18 main 10.0.0.0/24", "", 5000, "10.0.70.1", "10.0.0.1")
	// Next to addresses of the machine: smaller networks, none of which can be the main one.
	f("10.0.0.128/25", "10.0.0.1", 0, "10.0.0.200", "10.0.0.250")
	f("10.0.0.8/29 10.0.0.128/25", "10.0.0.5 10.0.0.17", 100, "10.0.0.10", "10.0.0.200")

	taken := parseAll([]string{"192.0.2.10", "192.0.2.2"})
	_, err := planSubnets(taken, 0, parseAll([]string{"192.0.2.2"}))
	assert.ErrorContains(t, err, "configured address 192.0.2.2: this machine has the address 192.0.2.2")
	assert.ErrorContains(t, err, "rp_filter=1")
	_, err = planSubnets(taken, 0, parseAll([]string{"192.0.2.3"}))
	assert.ErrorContains(t, err, "configured address 192.0.2.2: this machine has the address 192.0.2.3")
}

func parseAll(addresses []string) []netip.Addr {
	var out []netip.Addr
	for _, a := range addresses {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestNoFreeRange(t *testing.T) {
	var all []netip.Addr
	for i := 1; i < 255; i++ {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	_, _, ok := findFreeRanges(coveringPrefix(all), all, netip.Prefix{})
	assert.False(t, ok)
}

// Clients get their own block besides the configured addresses.
func TestNetworkWithRoomForClients(t *testing.T) {
	f := func(wide, block string, clients int, addresses ...string) {
		t.Helper()
		var taken []netip.Addr
		for _, a := range addresses {
			taken = append(taken, netip.MustParseAddr(a))
		}
		gotWide, gotBlock, err := widenForClients(coveringPrefix(taken), taken, clients)
		require.NoError(t, err)
		assert.Equal(t, wide+" "+block, fmt.Sprint(gotWide, " ", gotBlock))
		gateway, dynamic, ok := findFreeRanges(gotWide, taken, gotBlock)
		require.True(t, ok)
		assert.False(t, gotBlock.Contains(gateway) || gotBlock.Overlaps(dynamic))
		last := plan.ClientAddress(gotBlock, clients-1)
		assert.True(t, gotBlock.Contains(last), "the last client has %s", last)
		for _, a := range taken {
			assert.False(t, gotBlock.Contains(a))
		}
	}
	f("10.20.0.0/18", "10.20.32.0/19", 5000, "10.20.0.11", "10.20.4.12")
	f("192.168.0.0/18", "192.168.32.0/19", 5000, "192.168.1.10")
	f("192.168.0.0/18", "192.168.32.0/19", 5000, "192.168.1.10", "192.168.15.1")
	f("10.0.1.0/24", "10.0.1.128/25", 100, "10.0.1.10")
	f("10.0.0.0/22", "10.0.2.0/23", 300, "10.0.1.10")
	f("10.0.0.0/8", "10.255.0.0/16", 40000, "10.0.0.1", "10.200.0.1")
	_, _, err := widenForClients(coveringPrefix([]netip.Addr{netip.MustParseAddr("10.0.0.1")}), []netip.Addr{netip.MustParseAddr("10.0.0.1")}, 1<<24)
	assert.ErrorContains(t, err, "no range is free")
}

// All candidates are in the benchmark range, for any run id and number of clients.
func TestOwnNetworks(t *testing.T) {
	f := func(length, clients int) {
		t.Helper()
		for _, run := range []string{"1341860c", "b2e0", ""} {
			candidates, err := networkCandidates(run, clients)
			require.NoError(t, err)
			assert.Len(t, candidates, 1<<(length-15))
			for i, one := range candidates {
				subnet := one.config.Subnet
				assert.Equal(t, length, subnet.Bits())
				assert.Equal(t, subnet, subnet.Masked())
				assert.True(t, benchmarkRange.Contains(subnet.Addr()))
				assert.True(t, one.config.IPRange.Contains(one.config.Gateway))
				assert.False(t, slices.ContainsFunc(candidates[:i], func(o networkCandidate) bool { return o.config.Subnet.Overlaps(subnet) }))
				if assert.Equal(t, clients > 0, one.clients.IsValid()); clients == 0 {
					continue
				}
				assert.False(t, one.clients.Overlaps(one.config.IPRange))
				last := plan.ClientAddress(one.clients, clients-1)
				assert.True(t, one.clients.Contains(last) && one.clients.Contains(last.Next()), "the last client has %s, which may be the broadcast address", last)
				assert.True(t, subnet.Contains(last))
			}
		}
	}
	f(20, 0)
	f(20, 1)
	f(20, 2046)
	f(19, 2047)
	f(18, 5000)
	f(16, 32766)
	_, err := networkCandidates("1341860c", 32767)
	assert.ErrorContains(t, err, "32767 client addresses requested; at most 32766 are possible")
	one, err := networkCandidates("one", 0)
	require.NoError(t, err)
	other, err := networkCandidates("other", 0)
	require.NoError(t, err)
	assert.NotEqual(t, one, other)
}

// A network of an earlier run can be reused if it has the addresses, and room for the clients.
func TestReusableNetwork(t *testing.T) {
	there := apinetwork.IPAMConfig{
		Subnet: netip.MustParsePrefix("10.0.0.0/16"), IPRange: netip.MustParsePrefix("10.0.127.224/27"), Gateway: netip.MustParseAddr("10.0.0.1"),
	}
	f := func(want bool, clients int, addresses ...string) {
		t.Helper()
		var taken []netip.Addr
		for _, a := range addresses {
			taken = append(taken, netip.MustParseAddr(a))
		}
		block, ok := fitsNetwork(there, taken, clients)
		assert.Equal(t, want, ok)
		if ok && clients > 0 {
			assert.False(t, slices.ContainsFunc(append(taken, there.Gateway), block.Contains) || block.Overlaps(there.IPRange))
			assert.True(t, there.Subnet.Contains(block.Addr()))
		}
	}
	f(true, 0, "10.0.1.10", "10.0.1.11")
	f(true, 1000, "10.0.1.10", "10.0.1.11")
	f(true, 30000, "10.0.1.10")
	f(false, 60000, "10.0.1.10")
	f(false, 0, "10.0.1.10", "10.1.1.10")
	f(false, 0, "10.0.0.1")
	f(false, 0, "10.0.127.230")
}
