package reading

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/lbproof/lbproof/internal/model"
)

// CheckHosts looks at the hosts that a configuration names. One in the domain of lbproof's own nodes is an error; one
// that no name server can know is a problem with the effect that it has on the balancer. Servers whose names are those
// of one host get the first of them.
func CheckHosts(cfg *model.Config, unknown model.Effect) error {
	spelled := map[string]string{}
	for _, pool := range cfg.Pools {
		for i := range pool.Servers {
			s := &pool.Servers[i]
			if model.IsReservedHost(s.Host) {
				return fmt.Errorf("%s: the upstream server %s: %w", s.Pos, s.Addr(), errReserved)
			}
			if hasNoHostName(s.Host) {
				continue
			}
			if flaw := model.InvalidHostReason(s.Host); flaw != "" {
				cfg.Problems = append(cfg.Problems, invalidHostProblem(*s, flaw, cfg.Balancer, unknown))
				continue
			}
			folded := model.NormalizeHost(s.Host)
			spelled[folded] = cmp.Or(spelled[folded], s.Host)
			s.Host = spelled[folded]
		}
	}
	for _, need := range cfg.Needs {
		if host, _, err := SplitHostPort(need.Path, 0); need.Kind == model.NeedHost && err == nil && model.IsReservedHost(host) {
			return fmt.Errorf("%s: %s: %w", need.Pos, need.Path, errReserved)
		}
	}
	return nil
}

var errReserved = fmt.Errorf("in a run the names under %s are those of lbproof's own nodes: name another host",
	model.ReservedDomain)

// hasNoHostName reports whether a server is no host that has a name: a socket, or what is known only while the balancer
// runs. lbconfigs.Specs says which.
func hasNoHostName(host string) bool {
	return host == "" || strings.HasPrefix(host, "unix:") || strings.ContainsAny(host, "$/%{}@")
}

// invalidHostProblem is the problem of a server whose host no name server can know.
func invalidHostProblem(s model.Server, flaw, balancer string, effect model.Effect) model.Problem {
	p := model.Problem{
		Pos: s.Pos, Effect: effect, Text: fmt.Sprintf("no name server can know the host %q: %s", s.Host, flaw),
		Instead: "an address, or a host name: " +
			"labels of letters, digits, - and _ with dots between them, as back-01.example.com",
	}
	if known, err := idna.Lookup.ToASCII(s.Host); err == nil && model.InvalidHostReason(known) == "" {
		p.Instead = known + ", which is how name servers know it"
	}
	return p
}

// SplitHostPort splits host:port; unix sockets come back whole.
func SplitHostPort(addr string, port int) (string, int, error) {
	if strings.HasPrefix(addr, "unix:") {
		return addr, port, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]"), port, nil // no port: a bare host
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, int(n), nil
}

// IsForgeable says whether a limit's key is an address that the client writes into a header itself.
func IsForgeable(key string) bool {
	key = strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	return strings.Contains(key, "x-forwarded-for") || strings.Contains(key, "x-real-ip")
}
