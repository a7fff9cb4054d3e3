package stack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/lbproof/lbproof/internal/lb"
)

// subnet is a network of the addresses that a configuration names.
type subnet struct {
	prefix netip.Prefix
	name   string
}

// addressed makes a network for every /24 in which a node has an address of its own. Like the run's main network they have
// no route out.
func (s *Stack) addressed(ctx context.Context, specs []lb.Spec) error {
	fixed := map[netip.Prefix][]netip.Addr{}
	for _, spec := range specs {
		if spec.Address == "" {
			continue
		}
		at, err := netip.ParseAddr(spec.Address)
		if err != nil {
			return fmt.Errorf("make a network for %s: %w", spec.Name, err)
		}
		prefix := netip.PrefixFrom(at, 24).Masked()
		fixed[prefix] = append(fixed[prefix], at)
	}
	for prefix, taken := range fixed {
		gateway, dynamic, ok := room(prefix, taken)
		if !ok {
			return fmt.Errorf("make the network %s: the configuration names so many addresses in it that none is left for the balancer", prefix)
		}
		made, err := network.New(ctx, network.WithInternal(), network.WithLabels(map[string]string{labelRun: s.run}),
			network.WithIPAM(&apinetwork.IPAM{Config: []apinetwork.IPAMConfig{{Subnet: prefix, Gateway: gateway, IPRange: dynamic}}}))
		if err != nil {
			return fmt.Errorf("make the network %s, in which the configuration has %s: %w (another run, or another network of this machine, may have it)", prefix, taken[0], err)
		}
		s.subnets = append(s.subnets, subnet{prefix, made.Name})
	}
	return nil
}

// room finds addresses in a /24 that no node has: one for the gateway, and a block for nodes without an address of their own.
func room(prefix netip.Prefix, taken []netip.Addr) (gateway netip.Addr, dynamic netip.Prefix, ok bool) {
	base := prefix.Addr().As4()
	at := func(last int) netip.Addr { return netip.AddrFrom4([4]byte{base[0], base[1], base[2], byte(last)}) }
	for block := 224; block >= 0 && !ok; block -= 32 { // the highest /27 without a taken address
		dynamic = netip.PrefixFrom(at(block), 27)
		ok = !slices.ContainsFunc(taken, dynamic.Contains)
	}
	for last := 1; last < 255; last++ {
		if gateway = at(last); !slices.Contains(taken, gateway) && !dynamic.Contains(gateway) {
			return gateway, dynamic, ok
		}
	}
	return gateway, dynamic, false
}

// joined are the networks of a node: its own address first where it has one, then the run's main network. The balancer
// stands in all of them.
func (s *Stack) joined(spec lb.Spec) []testcontainers.ContainerCustomizer {
	var out []testcontainers.ContainerCustomizer
	if spec.Address != "" {
		at, err := netip.ParseAddr(spec.Address)
		for _, n := range s.subnets {
			if err != nil || !n.prefix.Contains(at) {
				continue
			}
			out = append(out, network.WithNetworkName(nil, n.name), testcontainers.WithEndpointSettingsModifier(func(all map[string]*apinetwork.EndpointSettings) {
				all[n.name].IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: at}
			}))
		}
	}
	out = append(out, network.WithNetworkName([]string{spec.Host()}, s.network))
	if spec.Role == lb.Balancer {
		for _, n := range s.subnets {
			out = append(out, network.WithNetworkName(nil, n.name))
		}
	}
	return out
}
