package lbconfigs

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// numericHost matches names that resolvers take for an address in an old notation: 10.1 is 10.0.0.1.
var numericHost = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$`)

// loopbacks are the names of the container itself in /etc/hosts.
var loopbacks = []string{"localhost", "ip6-localhost", "ip6-loopback"}

// looksLikeAddress reports whether resolvers take a host for an address although it is not one in the usual notation.
func looksLikeAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && numericHost.MatchString(host)
}

// Specs returns the nodes that a configuration needs to run: the balancer, a backend for each host of a server, and a
// helper for each other service.
func Specs(cfg model.Config) ([]plan.Spec, error) {
	b, err := Find(cfg.Balancer)
	if err != nil {
		return nil, err
	}
	balancer := b.Spec(cfg)
	for _, l := range cfg.Listeners {
		if !slices.Contains(balancer.Ports, l.Port) {
			balancer.Ports = append(balancer.Ports, l.Port)
			if l.TLS {
				balancer.TLSPorts = append(balancer.TLSPorts, l.Port)
			}
		}
	}
	backends, err := backendSpecs(cfg)
	if !slices.ContainsFunc(backends, func(spec plan.Spec) bool { return model.SameHost(spec.Name, b.Name) }) {
		balancer.ContainerHostname = b.Name // not if a server has that name: the balancer would resolve it to itself
	}
	return append([]plan.Spec{balancer}, backends...), err
}

// backendSpecs returns one container per upstream host, with its name or address and all its ports.
func backendSpecs(cfg model.Config) ([]plan.Spec, error) {
	placed := hostSpecs{index: map[string]int{}}
	for _, pool := range cfg.Pools {
		for _, server := range pool.Servers {
			if err := checkPlacement(server); err != nil {
				if server.Down {
					continue // a placeholder
				}
				return nil, err
			}
			if model.InvalidHostReason(server.Host) != "" {
				continue // reported as a problem of the configuration
			}
			spec := placed.specFor(server.Host, server.Port, false)
			if server.TLS {
				serveTLS(spec, server.Port, pool.Name)
			}
		}
	}
	for _, need := range cfg.Needs {
		if need.Kind != model.NeedHost {
			continue
		}
		host, port, err := reading.SplitHostPort(need.Path, 80)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", need.Pos, need.Path, err)
		}
		if flaw := model.InvalidHostReason(host); flaw != "" {
			return nil, fmt.Errorf("%s: %s: invalid host name: %s", need.Pos, need.Path, flaw)
		}
		placed.specFor(host, port, true)
	}
	return placed.specs, nil
}

// hostSpecs are the containers of upstream hosts, in order of appearance.
type hostSpecs struct {
	specs []plan.Spec
	index map[string]int // normalized host → index in specs
}

// specFor returns the container of a host and adds a port to it. The pointer is valid until the next call.
func (p *hostSpecs) specFor(host string, port int, helper bool) *plan.Spec {
	folded := model.NormalizeHost(host)
	at, ok := p.index[folded]
	if !ok {
		spec := plan.Spec{Name: host, Role: plan.Backend, AutoRestart: true, Helper: helper}
		if ip, err := netip.ParseAddr(host); err == nil {
			spec.Address = ip.String()
		}
		at = len(p.specs)
		p.specs = append(p.specs, spec)
		p.index[folded] = at
	}
	if spec := &p.specs[at]; !slices.Contains(spec.Ports, port) {
		spec.Ports = append(spec.Ports, port)
	}
	return &p.specs[at]
}

// backendCertificate is the file with the certificate and key of a backend that speaks TLS.
const backendCertificate = "/certificate.pem"

// serveTLS makes a backend speak TLS on a port, with a certificate for its host and for the pool, whose name nginx
// verifies.
func serveTLS(spec *plan.Spec, port int, pool string) {
	if !slices.Contains(spec.TLSPorts, port) {
		spec.TLSPorts = append(spec.TLSPorts, port)
	}
	if len(spec.Needs) == 0 {
		spec.Needs = []model.Need{
			{Kind: model.NeedCertificate, Path: backendCertificate, Hosts: []string{model.NormalizeHost(spec.Name)}},
		}
	}
	if hosts := &spec.Needs[0].Hosts; !slices.Contains(*hosts, pool) {
		*hosts = append(*hosts, pool)
	}
}

// isNoHostAddress reports whether an IPv4 address cannot belong to a host: multicast, network and broadcast addresses.
func isNoHostAddress(ip netip.Addr) bool {
	last := ip.As4()[3]
	return ip.IsMulticast() || last == 0 || last == 255
}

// checkPlacement returns an error if no container can take the place of a server.
func checkPlacement(s model.Server) error {
	ip, err := netip.ParseAddr(s.Host)
	isAddress := err == nil
	isSelf := ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(loopbacks, model.NormalizeHost(s.Host))
	cannotRun := func(server, problem string) error {
		return fmt.Errorf("%s: server %s %s", s.Pos, server, problem)
	}
	switch quoted := strconv.Quote(s.Host); {
	case isSelf:
		return cannotRun(s.Addr(), "is the balancer's own host, where no backend can run; use another host")
	case isAddress && ip.Is6():
		return cannotRun(s.Addr(), "is an IPv6 address, and runs have IPv4 networks only; use a host name")
	case isAddress && isNoHostAddress(ip):
		return cannotRun(s.Addr(), "is a multicast, network or broadcast address; use the address of a host")
	case s.Host == "" || strings.HasPrefix(s.Host, "unix:") || strings.HasPrefix(s.Host, "/"):
		return cannotRun(quoted, "is a socket on the balancer's host, where no backend can run; use host:port")
	case strings.Contains(s.Host, "@"):
		return cannotRun(quoted, "is neither a host name nor an IPv4 address; use host:port")
	case looksLikeAddress(s.Host):
		return cannotRun(s.Addr(), "ends in a number but is not an IPv4 address; "+
			"write four numbers, as 10.0.0.1, or a host name")
	case strings.ContainsAny(s.Host, "$/%{}"):
		return cannotRun(quoted, "is known only at run time, so that no backend can be placed; use host:port")
	}
	return nil
}
