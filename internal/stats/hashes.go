package stats

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strconv"
)

// Map returns the index of a key's server, or -1 if it is unknown.
type Map func(key []byte) int

// maxTries is the number of servers that are down after which nginx's maps fall back to round robin.
const maxTries = 20

// AddressMap is nginx's ip_hash: only the first three octets of an IPv4 address count
// (ngx_http_upstream_ip_hash_module.c). Servers that are not up keep their place in the map.
func AddressMap(weights []int, up []bool) Map {
	return func(address []byte) int {
		hash := 89
		return pickByWeight(weights, up, func(int) int {
			for _, octet := range address[:min(3, len(address))] {
				hash = (hash*113 + int(octet)) % 6271
			}
			return hash
		})
	}
}

// ModuloMap is nginx's hash without consistent (ngx_http_upstream_hash_module.c, after Cache::Memcached).
func ModuloMap(weights []int, up []bool) Map {
	return func(key []byte) int {
		hash := 0
		return pickByWeight(weights, up, func(again int) int {
			var prefix []byte
			if again > 0 {
				prefix = strconv.AppendInt(nil, int64(again), 10)
			}
			hash += int(crc32.ChecksumIEEE(append(prefix, key...)) >> 16 & 0x7fff)
			return hash
		})
	}
}

// pickByWeight returns the server whose part of the weights a hash falls into, and rehashes if that server is down.
func pickByWeight(weights []int, up []bool, hash func(again int) int) int {
	total := 0
	for _, w := range weights {
		total += w
	}
	for again := range maxTries {
		rest := hash(again) % total
		for i, w := range weights {
			if rest -= w; rest >= 0 {
				continue
			}
			if up[i] {
				return i
			}
			break
		}
	}
	return -1
}

// point is a server's position on a ring.
type point struct {
	at     uint32
	server int
}

// sortRing sorts points and keeps the first of equal ones.
func sortRing(points []point) []point {
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.server, b.server))
	})
	return slices.CompactFunc(points, func(a, b point) bool { return a.at == b.at })
}

// findNext returns the first point at or after a position.
func findNext(points []point, at uint32) int {
	i, _ := slices.BinarySearchFunc(points, at, func(p point, at uint32) int { return cmp.Compare(p.at, at) })
	return i % len(points)
}

// KetamaMap is nginx's hash with consistent: 160 points per unit of weight, each the CRC-32 of host, a zero byte, port
// and the previous point (ngx_http_upstream_hash_module.c). The keys of a server that is down go to the next point.
func KetamaMap(hosts, ports []string, weights []int, up []bool) Map {
	var points []point
	for i, host := range hosts {
		base := crc32.ChecksumIEEE([]byte(host + "\x00" + ports[i]))
		before := make([]byte, 4)
		for range 160 * weights[i] {
			at := crc32.Update(base, crc32.IEEETable, before)
			points = append(points, point{at, i})
			binary.LittleEndian.PutUint32(before, at)
		}
	}
	points = sortRing(points)
	return func(key []byte) int {
		first := findNext(points, crc32.ChecksumIEEE(key))
		for k := range points {
			if p := points[(first+k)%len(points)]; up[p.server] {
				return p.server
			}
		}
		return -1
	}
}

// avalanche mixes an integer (Bob Jenkins's full avalanche, as in HAProxy's hash.h).
func avalanche(a uint32) uint32 {
	a += 0x7ed55d16 + a<<12
	a = a ^ 0xc761c23c ^ a>>19
	a += 0x165667b1 + a<<5
	a = (a + 0xd3a2646c) ^ a<<9
	a += 0xfd7046c5 + a<<3
	a = a ^ 0xb55a4f09 ^ a>>16
	return a * 3221225473
}

// weightScale is the number of points on HAProxy's ring per unit of weight; serverStride separates the numbers of two
// servers' points.
const (
	weightScale  = 16
	serverStride = 256 * weightScale
)

// haproxyRing is HAProxy's consistent hash: 16 points per unit of weight, derived from the server's number, from 1
// (lb_chash.c).
func haproxyRing(weights []int, up []bool) []point {
	var points []point
	for i, w := range weights {
		for n := range weightScale * w {
			if up[i] {
				points = append(points, point{avalanche(uint32((i+1)*serverStride + n)), i})
			}
		}
	}
	return sortRing(points)
}

// findNearest returns the server of the nearest point on the ring, the later one of two at the same distance.
func findNearest(points []point, at uint32) int {
	after := findNext(points, at)
	before := (after + len(points) - 1) % len(points)
	if points[after].at-at <= at-points[before].at {
		return points[after].server
	}
	return points[before].server
}

// RingMap is HAProxy's hash-type consistent over a mixed hash. up tells which servers are on the ring.
func RingMap(weights []int, up []bool, hash func(key []byte) uint32) Map {
	points := haproxyRing(weights, up)
	return func(key []byte) int { return findNearest(points, avalanche(hash(key))) }
}

// RingShares returns the part of HAProxy's ring that is nearest to each server: the shares of balance random, which
// only approximate the weights.
func RingShares(weights []int) []float64 {
	up := make([]bool, len(weights))
	for i := range up {
		up[i] = true
	}
	points, out := haproxyRing(weights, up), make([]float64, len(weights))
	for k, p := range points {
		gap := float64(points[(k+1)%len(points)].at-p.at) / (1 << 32) / 2
		out[p.server] += gap
		out[points[(k+1)%len(points)].server] += gap
	}
	return out
}

// TableMap is HAProxy's hash-type map-based: a table of interleaved servers (lb_map.c).
func TableMap(weights []int, up []bool, hash func(key []byte) uint32) Map {
	table := buildTable(weights, func(i int) bool { return up[i] })
	return func(key []byte) int { return table[hash(key)%uint32(len(table))] }
}

// buildTable returns HAProxy's table of servers, whose length is the sum of the weights over their greatest common
// divisor.
func buildTable(weights []int, up func(int) bool) []int {
	divisor := max(1, GCD(weights...))
	var table []int
	total, score := 0, make([]int, len(weights))
	for i, w := range weights {
		if up(i) {
			total += w / divisor
		}
	}
	for range total {
		best, most := -1, 0
		for i, w := range weights {
			if !up(i) {
				continue
			}
			score[i] += w / divisor
			if v := (score[i] + total) / total; best < 0 || v > most {
				best, most = i, v
			}
		}
		table = append(table, best)
		score[best] -= total
	}
	return table
}

// AddressHash is HAProxy's hash of an IPv4 address: the address itself (backend.c).
func AddressHash(address []byte) uint32 { return binary.BigEndian.Uint32(address) }

// SDBMHash is HAProxy's hash of a string (hash.c).
func SDBMHash(key []byte) uint32 {
	h := uint32(0)
	for _, c := range key {
		h = uint32(c) + h<<6 + h<<16 - h
	}
	return h
}

// SplitMap is nginx's split_clients: MurmurHash2 of the key, compared with the shares of the 32-bit range; the last
// share takes the rest (ngx_http_split_clients_module.c).
func SplitMap(shares []float64) Map {
	return func(key []byte) int {
		h := murmur2(key)
		edge := uint32(0)
		for i, s := range shares[:len(shares)-1] {
			if edge += uint32(s * 0xffffffff); h < edge {
				return i
			}
		}
		return len(shares) - 1
	}
}

// murmur2 is MurmurHash2 seeded with the length, as in nginx (Austin Appleby, public domain algorithm).
func murmur2(data []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(len(data))
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k = (k ^ k>>24) * m
		h = h*m ^ k
	}
	for i := len(data) - 1; i >= 0; i-- {
		h ^= uint32(data[i]) << (8 * i)
		if i == 0 {
			h *= m
		}
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
