package stack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/lbproof/lbproof/internal/lb"
)

// addressed is a network on which nodes have the addresses that the configuration names.
type addressed struct {
	prefix netip.Prefix // zero where the engine chooses
	name   string
}

// makeNetworks makes the run's main network and, where the configuration names addresses too far apart for it, one more for
// each group of them. None has a route out.
func (s *Stack) makeNetworks(ctx context.Context, specs []lb.Spec) error {
	groups, err := groupAddresses(specs)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		groups = [][]netip.Addr{nil}
	}
	for _, taken := range groups {
		var one addressed
		options := []network.NetworkCustomizer{network.WithInternal(), network.WithLabels(map[string]string{labelRun: s.run})}
		if len(taken) > 0 {
			one.prefix = cover(taken)
			gateway, dynamic, ok := room(one.prefix, taken)
			if !ok {
				return fmt.Errorf("make the network %s: the configuration names so many addresses in it that none is left for the balancer", one.prefix)
			}
			options = append(options, network.WithIPAM(&apinetwork.IPAM{Config: []apinetwork.IPAMConfig{{Subnet: one.prefix, Gateway: gateway, IPRange: dynamic}}}))
		}
		made, err := network.New(ctx, options...)
		if err != nil && len(taken) > 0 {
			return fmt.Errorf("make the network %s, in which the configuration has %s: %w (another run, or another network of this machine, may have it)", one.prefix, taken[0], err)
		}
		if err != nil {
			return fmt.Errorf("make the run's network: %w", err)
		}
		one.name = made.Name
		s.networks = append(s.networks, one)
	}
	return nil
}

// groupAddresses puts the addresses of nodes together that share their first octet.
func groupAddresses(specs []lb.Spec) ([][]netip.Addr, error) {
	var groups [][]netip.Addr
	for _, spec := range specs {
		if spec.Address == "" {
			continue
		}
		at, err := netip.ParseAddr(spec.Address)
		if err != nil || !at.Is4() {
			return nil, errors.Join(fmt.Errorf("make a network for %s: %s is no IPv4 address", spec.Name, spec.Address), err)
		}
		i := slices.IndexFunc(groups, func(g []netip.Addr) bool { return g[0].As4()[0] == at.As4()[0] })
		if i < 0 {
			groups, i = append(groups, nil), len(groups)
		}
		groups[i] = append(groups[i], at)
	}
	return groups, nil
}

// cover is the smallest network, but no smaller than a /24, that has all the addresses.
func cover(all []netip.Addr) netip.Prefix {
	for bits := 24; ; bits-- {
		prefix := netip.PrefixFrom(all[0], bits).Masked()
		if !slices.ContainsFunc(all, func(a netip.Addr) bool { return !prefix.Contains(a) }) {
			return prefix
		}
	}
}

// room finds addresses in a network that no node has: one for the gateway, and a block for nodes without an address of
// their own. ok is false where there is none.
func room(prefix netip.Prefix, taken []netip.Addr) (gateway netip.Addr, dynamic netip.Prefix, ok bool) {
	const block = 32 // addresses of a /27
	base := prefix.Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	size := uint32(1) << (32 - prefix.Bits())
	at := func(n uint32) netip.Addr {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], first+n)
		return netip.AddrFrom4(b)
	}
	for n := size - block; !ok && n >= block; n -= block { // the highest block without a taken address, and not the lowest
		dynamic = netip.PrefixFrom(at(n), 27)
		ok = !slices.ContainsFunc(taken, dynamic.Contains)
	}
	for n := uint32(1); n < block; n++ {
		if gateway = at(n); !slices.Contains(taken, gateway) {
			return gateway, dynamic, ok
		}
	}
	return gateway, dynamic, false
}

// inTurn lets nodes start one after another where there are several networks, and returns how to let the next one go.
// Docker 20.10 loses count of a network's containers when several that stand in more than one network come or go at
// once; then it cannot be removed.
func (s *Stack) inTurn() (next func()) {
	if len(s.networks) < 2 {
		return func() {}
	}
	s.turn.Lock()
	return s.turn.Unlock
}

// joined are the networks of a node: the one that has its own address first, then the run's main network. The balancer
// stands in all of them.
func (s *Stack) joined(spec lb.Spec) []testcontainers.ContainerCustomizer {
	var out []testcontainers.ContainerCustomizer
	main := s.networks[0]
	at, err := netip.ParseAddr(spec.Address)
	for _, n := range s.networks {
		if err != nil || !n.prefix.IsValid() || !n.prefix.Contains(at) {
			continue
		}
		aliases := []string(nil)
		if n == main {
			aliases = []string{spec.Host()}
		}
		out = append(out, network.WithNetworkName(aliases, n.name), testcontainers.WithEndpointSettingsModifier(func(all map[string]*apinetwork.EndpointSettings) {
			all[n.name].IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: at}
		}))
		if n == main {
			return out
		}
	}
	out = append(out, network.WithNetworkName([]string{spec.Host()}, main.name))
	for _, n := range s.networks[1:] {
		if spec.Role == lb.Balancer {
			out = append(out, network.WithNetworkName(nil, n.name))
		}
	}
	return out
}
