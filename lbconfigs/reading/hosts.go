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

// CheckHosts checks the hosts of a configuration. A reserved one is an error; an invalid one is a problem with that
// effect. Different spellings of a host name are replaced by the first.
func CheckHosts(cfg *model.Config, effect model.Effect) error {
	spelled := map[string]string{}
	for _, pool := range cfg.Pools {
		for i := range pool.Servers {
			s := &pool.Servers[i]
			if model.IsReservedHost(s.Host) {
				return fmt.Errorf("%s: server %s: %w", s.Pos, s.Addr(), errReserved)
			}
			if hasNoHostName(s.Host) {
				continue
			}
			if reason := model.InvalidHostReason(s.Host); reason != "" {
				cfg.Problems = append(cfg.Problems, invalidHostProblem(*s, reason, effect))
				continue
			}
			folded := model.NormalizeHost(s.Host)
			spelled[folded] = cmp.Or(spelled[folded], s.Host)
			s.Host = spelled[folded]
		}
	}
	for _, need := range cfg.Needs {
		host, _, err := SplitHostPort(need.Path, 0)
		if need.Kind == model.NeedHost && err == nil && model.IsReservedHost(host) {
			return fmt.Errorf("%s: %s: %w", need.Pos, need.Path, errReserved)
		}
	}
	return nil
}

var errReserved = fmt.Errorf("%s is reserved for lbproof's own nodes; use another host name", model.ReservedDomain)

// hasNoHostName reports whether a server has no host name: it is a socket, or known only at run time. lbconfigs.Specs
// reports these.
func hasNoHostName(host string) bool {
	return host == "" || strings.HasPrefix(host, "unix:") || strings.ContainsAny(host, "$/%{}@")
}

// invalidHostProblem returns the problem of a server whose host name cannot be resolved.
func invalidHostProblem(s model.Server, reason string, effect model.Effect) model.Problem {
	p := model.Problem{
		Pos: s.Pos, Effect: effect, Text: fmt.Sprintf("host %q cannot be resolved: %s", s.Host, reason),
		Instead: "an address, or a host name of letters, digits, -, _ and dots, as back-01.example.com",
	}
	if known, err := idna.Lookup.ToASCII(s.Host); err == nil && model.InvalidHostReason(known) == "" {
		p.Instead = known + ", which is how it is stored in DNS"
	}
	return p
}

// SplitHostPort splits host:port; port is the default. Unix sockets are returned whole.
func SplitHostPort(addr string, port int) (string, int, error) {
	if strings.HasPrefix(addr, "unix:") {
		return addr, port, nil
	}
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return strings.Trim(addr, "[]"), port, nil // a host without port
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is not a port", text)
	}
	return host, int(n), nil
}

// IsForgeable reports whether the key of a limit is an address in a header that clients can write themselves.
func IsForgeable(key string) bool {
	key = strings.ToLower(strings.ReplaceAll(key, "_", "-"))
	return strings.Contains(key, "x-forwarded-for") || strings.Contains(key, "x-real-ip")
}
