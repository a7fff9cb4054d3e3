package check

import (
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stats"
)

// HashMembers are the servers that have a place in a pool's hash, and which of them can take requests while nobody has died.
func HashMembers(cfg model.Config, pool model.Pool) (servers []model.Server, up []bool) {
	for _, s := range pool.Servers {
		if s.Backup && cfg.Balancer == "nginx" {
			continue // in a list of their own
		}
		servers = append(servers, s)
		up = append(up, !s.Backup && !s.Down && !s.Drain)
	}
	return servers, up
}

// MapOf recomputes where a pool sends keys; nil where lbproof does not know the function.
func MapOf(cfg model.Config, pool model.Pool, servers []model.Server, up []bool) stats.Map {
	weights := WeightsOf(servers)
	switch word, _, _ := strings.Cut(pool.Method, " "); {
	case cfg.Balancer == "nginx" && pool.Key.Prefix > 0:
		return stats.AddressMap(weights, up)
	case cfg.Balancer == "nginx" && !pool.Consistent:
		return stats.ModuloMap(weights, up)
	case cfg.Balancer == "nginx":
		var hosts, ports []string
		for _, s := range servers {
			hosts, ports = append(hosts, s.Host), append(ports, strconv.Itoa(s.Port))
			if s.Port == 80 { // written or not, which the hash minds
				return nil
			}
		}
		return stats.KetamaMap(hosts, ports, weights, up)
	case cfg.Balancer == "haproxy" && pool.Hash == "" && (word == "source" || word == "uri" || strings.HasPrefix(word, "hdr(")):
		hash := stats.TextHash
		if word == "source" {
			hash = stats.AddressHash
		}
		if pool.Consistent {
			return stats.RingMap(weights, up, hash)
		}
		return stats.SpreadMap(weights, up, hash)
	}
	return nil
}
