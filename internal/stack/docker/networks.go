package docker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	apinetwork "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/lbproof/lbproof/internal/sleep"
	"github.com/lbproof/lbproof/internal/stack"
)

// runNetwork is a network of the run.
type runNetwork struct {
	prefix netip.Prefix // zero if no address of the configuration is in it
	name   string
}

// createNetworks creates the run's networks: a main one with all nodes, and one for each group of configured addresses
// that are too far apart for it. The machine has no address in them and no route to them, and their nodes have no route
// out.
func (s *Stack) createNetworks(ctx context.Context, taken []netip.Addr, clients int) error {
	foreign, err := s.engine.hostAddresses()
	if err != nil {
		return err
	}
	nets, err := planSubnets(taken, clients, foreign)
	if err != nil {
		return err
	}
	main := -1 // of s.networks
	// All runs create networks in the order of their addresses, so that two runs never wait for each other.
	byAddress := func(a, b subnet) int { return a.config.Subnet.Addr().Compare(b.config.Subnet.Addr()) }
	for _, n := range slices.SortedFunc(slices.Values(nets), byAddress) {
		name, err := s.networkName(ctx, n)
		if err != nil {
			return err
		}
		made, err := s.createAddressedNetwork(ctx, name, &n)
		if err != nil {
			return err
		}
		if n.main {
			main, s.clientNetwork = len(s.networks), n.clients
		}
		s.networks = append(s.networks, runNetwork{prefix: n.config.Subnet, name: made})
	}
	if main < 0 {
		return s.createDefaultNetwork(ctx, clients, foreign)
	}
	first := s.networks[main]
	s.networks = append([]runNetwork{first}, slices.Delete(s.networks, main, main+1)...)
	return nil
}

// maxUnowned limits retries to create a network that overlaps none that Docker lists: Docker releases addresses a moment
// after it removes their network.
const maxUnowned = 10

// createAddressedNetwork creates a network with configured addresses and returns its name. It waits for a run that uses
// the same addresses.
func (s *Stack) createAddressedNetwork(ctx context.Context, name string, n *subnet) (made string, err error) {
	reported, unowned := "", 0
	for {
		err := s.createNetwork(ctx, name, n.config)
		if err == nil || ctx.Err() != nil {
			return name, err
		}
		clients := 0 // with addresses in it
		if n.main && n.clients.IsValid() {
			clients = n.clientCount
		}
		if old, block, ok := s.findReusable(ctx, n.addresses, clients); ok {
			s.engine.Progress("reusing the network " + old.prefix.String() + " of an earlier run, which Docker has not " +
				"released")
			n.config.Subnet = old.prefix
			if clients > 0 {
				n.clients = block
			}
			return old.name, nil
		}
		holder, waits := s.networkOwner(ctx, n.config.Subnet)
		if !waits && holder == "" && unowned < maxUnowned && sleep.For(ctx, 200*time.Millisecond) {
			unowned++ // its owner was just removed
			continue
		}
		if !waits {
			return "", fmt.Errorf("create the network %s for the configured address %s: %w%s",
				n.config.Subnet, n.addresses[0], err, holder)
		}
		if holder != reported {
			s.engine.Progress(fmt.Sprintf(
				"waiting for run %s, which uses the network %s, for the configured address %s",
				holder, n.config.Subnet, n.addresses[0]))
			reported = holder
		}
		if !sleep.For(ctx, 200*time.Millisecond) {
			return "", context.Cause(ctx)
		}
	}
}

// networkOwner finds the network that overlaps a prefix. If it belongs to an active run, who is that run and waits is
// true; otherwise who says what to do.
func (s *Stack) networkOwner(ctx context.Context, prefix netip.Prefix) (who string, waits bool) {
	found, err := s.engine.client.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return "", false
	}
	for _, n := range found.Items {
		for _, config := range n.IPAM.Config {
			if !config.Subnet.Overlaps(prefix) {
				continue
			}
			run := n.Labels[labelRun]
			switch {
			case run == "":
				who = fmt.Sprintf("; Docker's network %s uses %s: remove it with 'docker network rm %s'",
					n.Name, config.Subnet, n.Name)
			case run != s.config.Run && s.hasContainers(ctx, run):
				return run, true
			case run != s.config.Run:
				who = fmt.Sprintf("; network %s of the stale run %s uses %s: remove it with 'lbproof clean --yes', or "+
					"restart Docker", n.Name, run, config.Subnet)
			}
		}
	}
	return who, false
}

// optionNoHostAddress keeps Docker from giving the machine an address in a network; since Docker Engine 20.10
// (libnetwork pull request 2317).
const optionNoHostAddress = "com.docker.network.bridge.inhibit_ipv4"

// createNetwork creates a network of the run in which the machine has no address.
func (s *Stack) createNetwork(ctx context.Context, name string, config apinetwork.IPAMConfig) error {
	made, err := s.engine.client.NetworkCreate(ctx, name, client.NetworkCreateOptions{
		Driver: "bridge", Internal: true, Labels: map[string]string{labelRun: s.config.Run},
		Options: map[string]string{optionNoHostAddress: "true"},
		IPAM:    &apinetwork.IPAM{Config: []apinetwork.IPAMConfig{config}},
	})
	if err != nil {
		return err
	}
	if at, has := s.engine.hostAddressIn(made.ID); has {
		// if this fails, the end of the run removes it
		_, _ = s.engine.client.NetworkRemove(ctx, made.ID, client.NetworkRemoveOptions{})
		return fmt.Errorf("this machine has the address %s in the run's network, which is a way out of it: the engine "+
			"ignores the option %s; use Docker Engine 20.10 or later", at, optionNoHostAddress)
	}
	return nil
}

// hostAddressIn finds the machine's own address in a network. It cannot inspect the machine of a remote engine.
func (e *Engine) hostAddressIn(network string) (at netip.Addr, has bool) {
	bridge, err := net.InterfaceByName("br-" + network[:min(12, len(network))])
	if err != nil || !e.isLocal() {
		return at, false
	}
	all, err := bridge.Addrs()
	if err != nil {
		return at, false
	}
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Addr(), true
		}
	}
	return at, false
}

// isLocal reports whether the engine runs on this machine.
func (e *Engine) isLocal() bool { return strings.HasPrefix(e.client.DaemonHost(), "unix://") }

// hostAddresses returns this machine's addresses if its kernel would answer for them in the run's networks: Linux does
// so unless rp_filter is set. No network of a run must contain them.
func (e *Engine) hostAddresses() ([]netip.Addr, error) {
	if !e.isLocal() || hasReversePathFilter("all") || hasReversePathFilter("default") {
		return nil, nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var out []netip.Addr
	for _, one := range all {
		if prefix, err := netip.ParsePrefix(one.String()); err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			out = append(out, prefix.Addr())
		}
	}
	return out, nil
}

// hasReversePathFilter reports whether rp_filter is set for an interface, "all" or "default".
func hasReversePathFilter(name string) bool {
	text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	return err == nil && strings.TrimSpace(string(text)) != "0"
}

// findReusable finds an empty network of an earlier run with the addresses and room for the clients: Docker 20.10
// sometimes does not release one (see launch).
func (s *Stack) findReusable(
	ctx context.Context, taken []netip.Addr, clients int,
) (old runNetwork, block netip.Prefix, ok bool) {
	ofRuns := make(client.Filters).Add("label", labelRun)
	found, err := s.engine.client.NetworkList(ctx, client.NetworkListOptions{Filters: ofRuns})
	if err != nil {
		return old, block, false
	}
	for _, n := range found.Items {
		run := n.Labels[labelRun]
		details, err := s.engine.client.NetworkInspect(ctx, n.ID, client.NetworkInspectOptions{})
		if err != nil || run == s.config.Run || len(details.Network.Containers) > 0 {
			continue
		}
		likeOurs := n.Internal && n.Options[optionNoHostAddress] == "true" && len(n.IPAM.Config) == 1
		if !likeOurs || s.hasContainers(ctx, run) {
			continue
		}
		if block, ok = fitsNetwork(n.IPAM.Config[0], taken, clients); ok {
			return runNetwork{prefix: n.IPAM.Config[0].Subnet, name: n.Name}, block, true
		}
	}
	return old, block, false
}

// hasContainers reports whether a run has containers.
func (s *Stack) hasContainers(ctx context.Context, run string) bool {
	mine := make(client.Filters).Add("label", labelRun+"="+run)
	containers, err := s.engine.client.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: mine})
	return err != nil || len(containers.Items) > 0
}

// fitsNetwork reports whether an existing network contains the addresses outside its gateway and its dynamic range, and
// has a block for clients besides them.
func fitsNetwork(there apinetwork.IPAMConfig, taken []netip.Addr, clients int) (block netip.Prefix, ok bool) {
	foreign := func(a netip.Addr) bool {
		return !there.Subnet.Contains(a) || a == there.Gateway || there.IPRange.Contains(a)
	}
	if !there.IPRange.IsValid() || slices.ContainsFunc(taken, foreign) {
		return block, false
	}
	if clients == 0 {
		return block, true
	}
	used := append(slices.Clone(taken), there.Gateway, there.IPRange.Addr())
	wide, block, err := widenForClients(there.Subnet, used, clients)
	return block, err == nil && wide == there.Subnet && !block.Overlaps(there.IPRange)
}

// benchmarkRange is the address range that RFC 6890 reserves for benchmarks: neither hosts nor configurations use it.
// Docker's default pools, 172.16.0.0/12 and 192.168.0.0/16, could overlap addresses in the configuration of a
// concurrent run.
var benchmarkRange = netip.MustParsePrefix("198.18.0.0/15")

// createDefaultNetwork creates the main network of a run whose configuration has no addresses for it: the first
// candidate that is free and does not contain an address of this machine.
func (s *Stack) createDefaultNetwork(ctx context.Context, clients int, foreign []netip.Addr) error {
	candidates, err := networkCandidates(s.config.Run, clients)
	if err != nil {
		return err
	}
	name, err := s.networkName(ctx, subnet{main: true})
	if err != nil {
		return err
	}
	var first error
	for _, candidate := range candidates {
		if slices.ContainsFunc(foreign, candidate.config.Subnet.Contains) {
			continue
		}
		err := s.createNetwork(ctx, name, candidate.config)
		if err == nil {
			s.networks, s.clientNetwork = append([]runNetwork{{name: name}}, s.networks...), candidate.clients
			return nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("create the run's network: none of %d candidates in %s is free: %w",
		len(candidates), benchmarkRange, first)
}

// networkCandidate is a possible main network: nodes are in its first quarter, clients in its second half.
type networkCandidate struct {
	config  apinetwork.IPAMConfig
	clients netip.Prefix // invalid if there are none
}

// networkCandidates returns the candidates of a run in the order in which it tries them, which depends on the run. Each
// has room for the clients and for about as many nodes as a bridge has ports (1,023).
func networkCandidates(run string, clients int) ([]networkCandidate, error) {
	const small, large = 20, 16 // bits of the prefixes
	length := min(small, 31-bits.Len(uint(clients+1)))
	if length < large {
		return nil, fmt.Errorf("create the run's network: %d client addresses requested; at most %d are possible",
			clients, 1<<(31-large)-2)
	}
	sum := sha256.Sum256([]byte(run))
	size := uint32(1) << (32 - length)
	out := make([]networkCandidate, 1<<(length-benchmarkRange.Bits()))
	for i := range out {
		n := (int(sum[0]) + i*int(sum[1]|1)) % len(out) // an odd step visits each of a power of two
		at := addOffset(benchmarkRange.Addr(), uint32(n)*size)
		out[i].config = apinetwork.IPAMConfig{
			Subnet: netip.PrefixFrom(at, length), Gateway: at.Next(), IPRange: netip.PrefixFrom(at, length+2),
		}
		if clients > 0 {
			out[i].clients = netip.PrefixFrom(addOffset(at, size/2), length+1)
		}
	}
	return out, nil
}

// ClientNetwork is the network of client addresses; invalid if there are none.
func (s *Stack) ClientNetwork() netip.Prefix { return s.clientNetwork }

// subnet is a planned network of the run.
type subnet struct {
	config      apinetwork.IPAMConfig // IPRange: for nodes without a configured address
	addresses   []netip.Addr          // configured ones
	main        bool                  // with all nodes
	clients     netip.Prefix          // of the main network: client addresses; invalid if there are none
	clientCount int
}

// planSubnets plans networks for the configured addresses, each about as large as they need. The main network has the
// first address and the clients; there is none if its range is not free. No network contains a foreign address.
func planSubnets(taken []netip.Addr, clients int, foreign []netip.Addr) ([]subnet, error) {
	if len(taken) == 0 {
		return nil, nil
	}
	isForeign := func(a netip.Addr) bool { return slices.Contains(foreign, a) }
	if i := slices.IndexFunc(taken, isForeign); i >= 0 {
		return nil, hostAddressError(taken[i], taken[i])
	}
	groups := groupAddresses(taken)
	var nets []subnet
	for len(groups) > 0 {
		group := groups[0]
		main := len(nets) == 0 && slices.Contains(group, taken[0])
		prefix, block := coveringPrefix(group), netip.Prefix{}
		var err error
		if main && clients > 0 {
			if prefix, block, err = widenForClients(prefix, group, clients); err != nil {
				return nil, err
			}
			if together, ok := mergeOverlapping(groups, prefix); ok {
				groups = together
				continue
			}
		}
		if slices.ContainsFunc(foreign, prefix.Contains) {
			small, err := splitAround(group, foreign)
			if err != nil {
				return nil, err
			}
			nets, groups = append(nets, small...), groups[1:]
			continue
		}
		one := subnet{addresses: group, main: main, clients: block, clientCount: clients}
		if one.config, err = ipamConfig(prefix, group, block); err != nil {
			return nil, err
		}
		nets, groups = append(nets, one), groups[1:]
	}
	return nets, nil
}

// ipamConfig returns a network of that prefix with a range for nodes without a configured address.
func ipamConfig(prefix netip.Prefix, taken []netip.Addr, clients netip.Prefix) (apinetwork.IPAMConfig, error) {
	gateway, dynamic, ok := findFreeRanges(prefix, taken, clients)
	if !ok {
		return apinetwork.IPAMConfig{}, fmt.Errorf("create the network %s: the configured addresses leave none for the "+
			"balancer", prefix)
	}
	return apinetwork.IPAMConfig{Subnet: prefix, Gateway: gateway, IPRange: dynamic}, nil
}

// mergeOverlapping merges the first group with the first other group whose network would overlap its network. ok is
// false if there is none.
func mergeOverlapping(groups [][]netip.Addr, first netip.Prefix) (joined [][]netip.Addr, ok bool) {
	i := slices.IndexFunc(groups[1:], func(g []netip.Addr) bool { return coveringPrefix(g).Overlaps(first) })
	if i < 0 {
		return groups, false
	}
	groups[0] = append(slices.Clone(groups[0]), groups[1+i]...)
	return slices.Delete(groups, 1+i, 2+i), true
}

// splitAround plans networks for addresses next to foreign ones: the largest network that contains the group and no
// foreign address, or several smaller ones.
func splitAround(group, foreign []netip.Addr) ([]subnet, error) {
	for length := narrowestBits; length <= 29; length++ {
		prefix := netip.PrefixFrom(group[0], length).Masked()
		outside := func(a netip.Addr) bool { return !prefix.Contains(a) }
		if slices.ContainsFunc(foreign, prefix.Contains) || slices.ContainsFunc(group, outside) {
			continue
		}
		if gateway, dynamic, ok := findFreeRanges(prefix, group, netip.Prefix{}); ok {
			return []subnet{{
				config:    apinetwork.IPAMConfig{Subnet: prefix, Gateway: gateway, IPRange: dynamic},
				addresses: group,
			}}, nil
		}
	}
	if len(group) == 1 {
		neighbour := foreign[0]
		for _, f := range foreign {
			if netip.PrefixFrom(group[0], 29).Masked().Contains(f) {
				neighbour = f
			}
		}
		return nil, hostAddressError(group[0], neighbour)
	}
	half := len(group) / 2
	low, err := splitAround(group[:half], foreign)
	if err != nil {
		return nil, err
	}
	high, err := splitAround(group[half:], foreign)
	return append(low, high...), err
}

// hostAddressError means that a configured address is one of this machine's, or too close to one.
func hostAddressError(at, machine netip.Addr) error {
	return fmt.Errorf("configured address %s: this machine has the address %s, and its kernel would answer for it inside "+
		"the run; run 'sysctl -w net.ipv4.conf.all.rp_filter=1', or use another machine", at, machine)
}

// Prefix lengths of networks for configured addresses: addresses share a network no wider than widestBits.
const (
	widestBits    = 20
	narrowestBits = 24
)

// groupAddresses groups addresses that fit into one network. The group of the first address comes first.
func groupAddresses(taken []netip.Addr) [][]netip.Addr {
	var groups [][]netip.Addr
	for _, at := range slices.SortedFunc(slices.Values(taken), netip.Addr.Compare) {
		if last := len(groups) - 1; last >= 0 && coveringPrefix(append(slices.Clone(groups[last]), at)).Bits() >= widestBits {
			groups[last] = append(groups[last], at)
			continue
		}
		groups = append(groups, []netip.Addr{at})
	}
	first := slices.IndexFunc(groups, func(g []netip.Addr) bool { return slices.Contains(g, taken[0]) })
	groups[0], groups[first] = groups[first], groups[0]
	return groups
}

// coveringPrefix returns the smallest network, at least a /24, that contains all addresses.
func coveringPrefix(all []netip.Addr) netip.Prefix {
	for bits := narrowestBits; ; bits-- {
		prefix := netip.PrefixFrom(all[0], bits).Masked()
		if !slices.ContainsFunc(all, func(a netip.Addr) bool { return !prefix.Contains(a) }) {
			return prefix
		}
	}
}

// widenForClients widens a network until it has a block for clients without a taken address.
func widenForClients(prefix netip.Prefix, taken []netip.Addr, clients int) (wide, block netip.Prefix, err error) {
	size := 32 - bits.Len(uint(clients+1)) // of the block; its first address is unused
	for length := prefix.Bits(); length >= 8; length-- {
		wide = netip.PrefixFrom(prefix.Addr(), length).Masked()
		n, step := uint32(1)<<(32-length), uint32(1)<<(32-size)
		for at := n; at >= 2*step; at -= step { // from the top, but not the lowest block: the gateway is in it
			block = netip.PrefixFrom(addOffset(wide.Addr(), at-step), size)
			if !slices.ContainsFunc(taken, block.Contains) {
				return wide, block, nil
			}
		}
	}
	return wide, block, fmt.Errorf("create a network for %d clients and %s: no range is free", clients, taken[0])
}

// findFreeRanges finds unused addresses in a network: one for the gateway, and a block for nodes without a configured
// address. ok is false if there are none.
func findFreeRanges(
	prefix netip.Prefix, taken []netip.Addr, clients netip.Prefix,
) (gateway netip.Addr, dynamic netip.Prefix, ok bool) {
	size := uint32(1) << (32 - prefix.Bits())
	block := min(32, size/2) // a /27
	length := 32 - bits.Len32(block-1)
	for n := size - block; !ok && n >= block; n -= block { // from the top, but not the lowest block
		dynamic = netip.PrefixFrom(addOffset(prefix.Addr(), n), length)
		ok = !slices.ContainsFunc(taken, dynamic.Contains) && !dynamic.Overlaps(clients)
	}
	for n := uint32(1); n < block; n++ {
		if gateway = addOffset(prefix.Addr(), n); !slices.Contains(taken, gateway) {
			return gateway, dynamic, ok
		}
	}
	return gateway, dynamic, false
}

// addOffset returns addr + n.
func addOffset(addr netip.Addr, n uint32) netip.Addr {
	b := addr.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+n)
	return netip.AddrFrom4(b)
}

// networkOptions returns the networks that a node joins: that of its configured address first, then the main network.
func (s *Stack) networkOptions(p stack.Placement) []testcontainers.ContainerCustomizer {
	var out []testcontainers.ContainerCustomizer
	main := s.networks[0]
	at, err := netip.ParseAddr(p.Address)
	for _, n := range s.networks {
		if err != nil || !n.prefix.IsValid() || !n.prefix.Contains(at) {
			continue
		}
		aliases := []string(nil)
		if n == main {
			aliases = p.Hosts
		}
		settle := func(all map[string]*apinetwork.EndpointSettings) {
			all[n.name].IPAMConfig = &apinetwork.EndpointIPAMConfig{IPv4Address: at}
		}
		out = append(out, network.WithNetworkName(aliases, n.name),
			testcontainers.WithEndpointSettingsModifier(settle))
		if n == main {
			return out
		}
	}
	out = append(out, network.WithNetworkName(p.Hosts, main.name))
	if p.AllNetworks {
		for _, n := range s.networks[1:] {
			out = append(out, network.WithNetworkName(nil, n.name))
		}
	}
	return out
}
