package stack

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/lbproof/lbproof/internal/lb"
)

// addressed is a network on which nodes have the addresses that the configuration names.
type addressed struct {
	prefix netip.Prefix // zero where the configuration names no address in it
	name   string
}

// makeNetworks makes the run's main network and, where the configuration names addresses too far apart for it, one more for
// each group of them. None has a route out.
func (s *Stack) makeNetworks(ctx context.Context, specs []lb.Spec, clients int) error {
	groups, err := groupAddresses(specs)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return s.makeOwnNetwork(ctx, clients)
	}
	for i, taken := range groups {
		one := addressed{prefix: cover(taken)}
		if i == 0 && clients > 0 {
			if one.prefix, s.clients, err = widen(one.prefix, taken, clients); err != nil {
				return err
			}
		}
		gateway, dynamic, ok := room(one.prefix, taken, s.clients)
		if !ok {
			return fmt.Errorf("make the network %s: the configuration names so many addresses in it that none is left for the balancer", one.prefix)
		}
		one.name, err = s.makeNetwork(ctx, apinetwork.IPAMConfig{Subnet: one.prefix, Gateway: gateway, IPRange: dynamic})
		if err != nil {
			blocked := 0 // clients that need addresses in it
			if i == 0 {
				blocked = clients
			}
			if old, block, ok := s.abandoned(ctx, taken, blocked); ok {
				s.docker.Progress("uses again the network " + old.prefix.String() + " of an earlier run, which Docker has not let go")
				s.networks = append(s.networks, old)
				if blocked > 0 {
					s.clients = block
				}
				continue
			}
			return fmt.Errorf("make the network %s, in which the configuration has %s: %w (another run, or another network of this machine, may have it; one of an earlier run that Docker does not let go is gone when Docker has been restarted)", one.prefix, taken[0], err)
		}
		s.networks = append(s.networks, one)
	}
	return nil
}

// makeNetwork makes a network of the run's, and says its name.
func (s *Stack) makeNetwork(ctx context.Context, config apinetwork.IPAMConfig) (string, error) {
	made, err := network.New(ctx, network.WithInternal(), network.WithLabels(map[string]string{labelRun: s.run}),
		network.WithIPAM(&apinetwork.IPAM{Config: []apinetwork.IPAMConfig{config}}))
	if err != nil {
		return "", err
	}
	return made.Name, nil
}

// abandoned finds a network of an earlier run's that has the addresses and room for the clients, and in which nothing is any more:
// Docker 20.10 sometimes does not let go of one (see launch).
func (s *Stack) abandoned(ctx context.Context, taken []netip.Addr, clients int) (old addressed, block netip.Prefix, ok bool) {
	found, err := s.docker.client.NetworkList(ctx, client.NetworkListOptions{Filters: make(client.Filters).Add("label", labelRun)})
	if err != nil {
		return old, block, false
	}
	for _, n := range found.Items {
		run := n.Labels[labelRun]
		seen, err := s.docker.client.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
		if err != nil || run == s.run || len(seen.Network.Containers) > 0 || !n.Internal || len(n.IPAM.Config) != 1 || s.lives(ctx, run) {
			continue
		}
		if block, ok = fits(n.IPAM.Config[0], taken, clients); ok {
			return addressed{prefix: n.IPAM.Config[0].Subnet, name: n.Name}, block, true
		}
	}
	return old, block, false
}

// lives says whether a run has a container.
func (s *Stack) lives(ctx context.Context, run string) bool {
	mine := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := s.docker.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	return err != nil || len(containers.Items) > 0
}

// fits says whether a network that is there has the addresses, none of them for its gateway or for those who have none of their own,
// and a block for clients beside them.
func fits(there apinetwork.IPAMConfig, taken []netip.Addr, clients int) (block netip.Prefix, ok bool) {
	foreign := func(a netip.Addr) bool {
		return !there.Subnet.Contains(a) || a == there.Gateway || there.IPRange.Contains(a)
	}
	if !there.IPRange.IsValid() || slices.ContainsFunc(taken, foreign) {
		return block, false
	}
	if clients == 0 {
		return block, true
	}
	wide, block, err := widen(there.Subnet, append(slices.Clone(taken), there.Gateway, there.IPRange.Addr()), clients)
	return block, err == nil && wide == there.Subnet && !block.Overlaps(there.IPRange)
}

// benchmarks are the addresses that RFC 6890 keeps for benchmarks: no host has one, and no configuration names one. Docker by
// itself goes through 172.16.0.0/12 and 192.168.0.0/16, which the configuration of a run beside this one may name.
var benchmarks = netip.MustParsePrefix("198.18.0.0/15")

// makeOwnNetwork makes the network of a run whose configuration names no addresses: the first of its candidates that is free.
func (s *Stack) makeOwnNetwork(ctx context.Context, clients int) error {
	candidates, err := ownNetworks(s.run, clients)
	if err != nil {
		return err
	}
	var first error
	for _, candidate := range candidates {
		name, err := s.makeNetwork(ctx, candidate.config)
		if err == nil {
			s.networks, s.clients = []addressed{{name: name}}, candidate.clients
			return nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("make the run's network, one of %d in %s: %w", len(candidates), benchmarks, first)
}

// own is a network that a run may make: nodes are in its first quarter, clients in its second half.
type own struct {
	config  apinetwork.IPAMConfig
	clients netip.Prefix // invalid where the plan asks for none
}

// ownNetworks are those of a run in the order in which it tries them, which is another for another run. Each has room for the
// clients, and for about as many nodes as a bridge has ports (1,023).
func ownNetworks(run string, clients int) ([]own, error) {
	const small, large = 20, 16 // bits of the prefixes
	length := min(small, 31-bits.Len(uint(clients+1)))
	if length < large {
		return nil, fmt.Errorf("make the run's network: %d client addresses are asked for, and there can be %d", clients, 1<<(31-large)-2)
	}
	sum := sha256.Sum256([]byte(run))
	size := uint32(1) << (32 - length)
	out := make([]own, 1<<(length-benchmarks.Bits()))
	for i := range out {
		n := (int(sum[0]) + i*int(sum[1]|1)) % len(out) // an odd step leads to each of a power of two
		at := after(benchmarks.Addr(), uint32(n)*size)
		out[i].config = apinetwork.IPAMConfig{
			Subnet: netip.PrefixFrom(at, length), Gateway: at.Next(), IPRange: netip.PrefixFrom(at, length+2),
		}
		if clients > 0 {
			out[i].clients = netip.PrefixFrom(after(at, size/2), length+1)
		}
	}
	return out, nil
}

// RouteClients tells a node that client addresses are reached by way of the worker. Without it the node would ask for each
// by itself, and the kernel remembers a thousand such answers for the whole machine.
func (s *Stack) RouteClients(ctx context.Context, node, worker string) error {
	via, err := s.Address(ctx, worker)
	if err != nil {
		return err
	}
	did, err := s.beside(ctx, s.node(node).container, node+"-route", []string{"/lbproof", "route", "--to", s.clients.String(), "--via", via}, false, "NET_ADMIN")
	if err == nil && did.code != 0 {
		err = errors.New(strings.TrimSpace(did.said))
	}
	if err != nil {
		return fmt.Errorf("route the clients' addresses from %s: %w", node, err)
	}
	return nil
}

// Clients is the network of client addresses; invalid where the plan asks for none.
func (s *Stack) Clients() netip.Prefix { return s.clients }

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

// widen makes a network so large that it has a block for clients without a taken address.
func widen(prefix netip.Prefix, taken []netip.Addr, clients int) (wide, block netip.Prefix, err error) {
	size := 32 - bits.Len(uint(clients+1)) // of the block: its first address is no client's
	for length := prefix.Bits(); length >= 8; length-- {
		wide = netip.PrefixFrom(prefix.Addr(), length).Masked()
		n, step := uint32(1)<<(32-length), uint32(1)<<(32-size)
		for at := n; at >= 2*step; at -= step { // the highest, and not the lowest, in which the gateway is
			block = netip.PrefixFrom(after(wide.Addr(), at-step), size)
			if !slices.ContainsFunc(taken, block.Contains) {
				return wide, block, nil
			}
		}
	}
	return wide, block, fmt.Errorf("make a network with room for %d clients beside %s: there is none", clients, taken[0])
}

// room finds addresses in a network that no node and no client has: one for the gateway, and a block for nodes without an
// address of their own. ok is false where there is none.
func room(prefix netip.Prefix, taken []netip.Addr, clients netip.Prefix) (gateway netip.Addr, dynamic netip.Prefix, ok bool) {
	const block = 32 // addresses of a /27
	size := uint32(1) << (32 - prefix.Bits())
	for n := size - block; !ok && n >= block; n -= block { // the highest block without a taken address, and not the lowest
		dynamic = netip.PrefixFrom(after(prefix.Addr(), n), 27)
		ok = !slices.ContainsFunc(taken, dynamic.Contains) && !dynamic.Overlaps(clients)
	}
	for n := uint32(1); n < block; n++ {
		if gateway = after(prefix.Addr(), n); !slices.Contains(taken, gateway) {
			return gateway, dynamic, ok
		}
	}
	return gateway, dynamic, false
}

// after is the address that comes n after another.
func after(addr netip.Addr, n uint32) netip.Addr {
	b := addr.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}

// launch makes a container and starts it. Those that join networks start one after another: Docker 20.10 sometimes loses count of
// a network's containers when several enter or leave it at once, for they share the number in its memory and not its version in
// its store; and a network that has more than nobody by that count cannot be removed until Docker is restarted.
func (s *Stack) launch(ctx context.Context, image string, options, networks []testcontainers.ContainerCustomizer) (testcontainers.Container, error) {
	c, err := testcontainers.Run(ctx, image, append(append(options, networks...), testcontainers.WithNoStart())...)
	if err != nil {
		return c, err
	}
	if len(networks) > 0 {
		s.entering.Lock()
		defer s.entering.Unlock()
	}
	return c, c.Start(ctx)
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
		if spec.Role == lb.Balancer || spec.Role == lb.Peer {
			out = append(out, network.WithNetworkName(nil, n.name))
		}
	}
	return out
}
