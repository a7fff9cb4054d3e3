package lbconfigs

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/lbproof/lbproof/internal/model"
)

// hosts looks at the hosts that a configuration names. One in the domain of lbproof's own nodes is an error; one that no name server
// can know is a problem with the effect that it has on the balancer. Servers whose names are those of one host get the first of them.
func hosts(cfg *model.Config, unknown model.Effect) error {
	spelled := map[string]string{}
	for _, pool := range cfg.Pools {
		for i := range pool.Servers {
			s := &pool.Servers[i]
			if model.InReserved(s.Host) {
				return fmt.Errorf("%s: the upstream server %s: %w", s.Pos, s.Addr(), errReserved)
			}
			if elsewhere(s.Host) {
				continue
			}
			if flaw := model.HostFlaw(s.Host); flaw != "" {
				cfg.Problems = append(cfg.Problems, nameless(*s, flaw, cfg.Balancer, unknown))
				continue
			}
			folded := model.FoldHost(s.Host)
			spelled[folded] = cmp.Or(spelled[folded], s.Host)
			s.Host = spelled[folded]
		}
	}
	for _, need := range cfg.Needs {
		if host, _, err := hostPort(need.Path, 0); need.Kind == model.NeedHost && err == nil && model.InReserved(host) {
			return fmt.Errorf("%s: %s: %w", need.Pos, need.Path, errReserved)
		}
	}
	return nil
}

var errReserved = fmt.Errorf("in a run the names under %s are those of lbproof's own nodes: name another host", model.Reserved)

// elsewhere reports whether a server is no host that has a name: a socket, or what is known only while the balancer runs. placeable says
// which.
func elsewhere(host string) bool {
	return host == "" || strings.HasPrefix(host, "unix:") || strings.ContainsAny(host, "$/%{}@")
}

// nameless is the problem of a server whose host no name server can know.
func nameless(s model.Server, flaw, balancer string, effect model.Effect) model.Problem {
	p := model.Problem{
		Pos: s.Pos, Effect: effect, Text: fmt.Sprintf("no name server can know the host %q: %s", s.Host, flaw),
		Instead: "an address, or a host name: labels of letters, digits, - and _ with dots between them, as back-01.example.com",
	}
	if known, err := idna.Lookup.ToASCII(s.Host); err == nil && model.HostFlaw(known) == "" {
		p.Instead = known + ", which is how name servers know it"
	}
	return p
}

// numeric matches the end of a name that resolvers take for an address in one of its older forms: 10.1 is 10.0.0.1.
var numeric = regexp.MustCompile(`(^|\.)([0-9]+|0[xX][0-9a-fA-F]*)\.?$`)

// loopbacks are the names of the balancer's own host that every container knows.
var loopbacks = []string{"localhost", "ip6-localhost", "ip6-loopback"}

// addressLike reports whether a host is neither a name nor an address in its usual form, and resolvers take it for an address.
func addressLike(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && numeric.MatchString(host)
}

// ascii reports whether a text has no other letters than English ones.
func ascii(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf })
}
