package lbconfigs

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/lbconfigs/reading"
)

// numericHost matches the end of a name that resolvers take for an address in one of its older forms: 10.1 is 10.0.0.1.
var numericHost = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$`)

// loopbacks are the names of the balancer's own host that every container knows.
var loopbacks = []string{"localhost", "ip6-localhost", "ip6-loopback"}

// looksLikeAddress reports whether a host is neither a name nor an address in its usual form, and resolvers take it for an
// address.
func looksLikeAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && numericHost.MatchString(host)
}

// Specs lists what a configuration needs to run: the balancer, a backend for each host that it names, and a helper for
// each other service that it asks.
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
		balancer.ContainerHostname = b.Name // else the balancer would take itself for that server
	}
	return append([]plan.Spec{balancer}, backends...), err
}

// backendSpecs gives each upstream host one container that carries its name or address and listens on every port named
// with it.
func backendSpecs(cfg model.Config) ([]plan.Spec, error) {
	placed := hostSpecs{index: map[string]int{}}
	for _, pool := range cfg.Pools {
		for _, server := range pool.Servers {
			if err := checkPlacement(server); err != nil {
				if server.Down {
					continue // a place holder that nobody asks
				}
				return nil, err
			}
			if model.InvalidHostReason(server.Host) != "" {
				continue // which is a problem of the configuration
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
			return nil, fmt.Errorf("%s: %s: no name server can know this host: %s", need.Pos, need.Path, flaw)
		}
		placed.specFor(host, port, true)
	}
	return placed.specs, nil
}

// hostSpecs are the containers of upstream hosts, in the order in which they were named.
type hostSpecs struct {
	specs []plan.Spec
	index map[string]int // folded host → its place in specs
}

// specFor is the container of a host, which listens on the port too. It holds until the next call.
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

// backendCertificate is where a backend that speaks TLS has its certificate and key.
const backendCertificate = "/certificate.pem"

// serveTLS has a backend speak TLS on a port, with a certificate for its host and for the pool, whose name nginx asks
// for.
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

// isNoHostAddress says whether an IPv4 address is none that a host could have: of a group, of a network or of all its hosts.
func isNoHostAddress(ip netip.Addr) bool {
	last := ip.As4()[3]
	return ip.IsMulticast() || last == 0 || last == 255
}

// checkPlacement says whether a container can stand where the configuration says the server is.
func checkPlacement(s model.Server) error {
	ip, err := netip.ParseAddr(s.Host)
	isAddress := err == nil
	isSelf := ip.IsLoopback() || ip.IsUnspecified() || slices.Contains(loopbacks, model.NormalizeHost(s.Host))
	switch {
	case isSelf:
		return fmt.Errorf("%s: the upstream server %s is the balancer's own host, where no backend can stand: "+
			"name another host", s.Pos, s.Addr())
	case isAddress && ip.Is6():
		return fmt.Errorf("%s: the upstream server %s is an IPv6 address, and lbproof makes networks for IPv4 only: "+
			"name a host there", s.Pos, s.Addr())
	case isAddress && isNoHostAddress(ip):
		return fmt.Errorf("%s: the upstream server %s is no address that a host could have", s.Pos, s.Addr())
	case s.Host == "" || strings.HasPrefix(s.Host, "unix:") || strings.HasPrefix(s.Host, "/"):
		return fmt.Errorf("%s: the upstream server %q is a socket of the balancer's own host, where no backend can stand: "+
			"use host:port", s.Pos, s.Host)
	case strings.Contains(s.Host, "@"):
		return fmt.Errorf("%s: the upstream server %q is neither a host's name nor an IPv4 address, "+
			"where alone a backend can stand: use host:port", s.Pos, s.Host)
	case looksLikeAddress(s.Host):
		return fmt.Errorf("%s: the upstream server %s ends with a number and is no IPv4 address: "+
			"write all four numbers, as 10.0.0.1, or name a host", s.Pos, s.Addr())
	case strings.ContainsAny(s.Host, "$/%{}"):
		return fmt.Errorf("%s: the upstream server %q is known only while the balancer runs, "+
			"so no backend can be placed for it", s.Pos, s.Host)
	}
	return nil
}
