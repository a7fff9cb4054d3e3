package check

import (
	"strconv"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/stats"
)

// HashMembers returns the servers that take part in a pool's hash, and which of them are in rotation when no server is
// down.
func HashMembers(pool model.Pool) (servers []model.Server, up []bool) {
	for _, s := range pool.Servers {
		if s.Backup && !pool.Balance.Hash.IncludesBackups {
			continue // they have their own hash
		}
		servers = append(servers, s)
		up = append(up, !s.Backup && !s.Down && !s.Drain)
	}
	return servers, up
}

// NewHashMap returns the function that maps keys to servers as the pool does; nil if lbproof does not know it.
func NewHashMap(pool model.Pool, servers []model.Server, up []bool) stats.Map {
	weights, hash := WeightsOf(servers), stats.SDBMHash
	if pool.Balance.Key().IsAddress() {
		hash = stats.AddressHash
	}
	switch pool.Balance.Hash.Function {
	case model.AddressOctets:
		return stats.AddressMap(weights, up)
	case model.CRC32Modulo:
		return stats.ModuloMap(weights, up)
	case model.Ketama:
		return newKetamaMap(servers, weights, up)
	case model.NumberRing:
		return stats.RingMap(weights, up, hash)
	case model.WeightMap:
		return stats.TableMap(weights, up, hash)
	}
	return nil
}

// newKetamaMap hashes the text of the servers' addresses; nil if that text may or may not include the port.
func newKetamaMap(servers []model.Server, weights []int, up []bool) stats.Map {
	var hosts, ports []string
	for _, s := range servers {
		if s.Port == 80 {
			return nil
		}
		hosts, ports = append(hosts, s.Host), append(ports, strconv.Itoa(s.Port))
	}
	return stats.KetamaMap(hosts, ports, weights, up)
}
