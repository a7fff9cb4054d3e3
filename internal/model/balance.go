package model

// Balance is how a pool chooses the server for a request.
type Balance struct {
	Pos  Pos         `json:"pos,omitzero"` // zero for the default
	Kind BalanceKind `json:"kind,omitempty"`
	// Rotation is of RoundRobin, and of LeastConnections among equally busy servers.
	Rotation Rotation   `json:"rotation,omitempty"`
	Load     LoadMetric `json:"load,omitempty"` // what LeastConnections compares
	// Choices is how many servers are drawn per request and then compared; 0: all.
	Choices int           `json:"choices,omitempty"`
	Draw    DrawWeighting `json:"draw,omitempty"`   // of Choices and of Random
	Hash    *Hash         `json:"hash,omitempty"`   // of ByHash
	Source  string        `json:"source,omitempty"` // as the user wrote it
}

// BalanceKind is the balancing algorithm. The zero value is one that lbproof does not know.
type BalanceKind string

// The balancing algorithms.
const (
	RoundRobin       BalanceKind = "round robin"
	LeastConnections BalanceKind = "least connections" // requests in flight
	LeastTime        BalanceKind = "least time"        // response time
	Random           BalanceKind = "random"            // one draw
	ByHash           BalanceKind = "hash"
	FillFirst        BalanceKind = "fill first" // one server up to its limit, then the next
)

// Rotation is the order of servers in round robin.
type Rotation string

// The rotations.
const (
	// Smooth takes the server with the highest sum of its weights so far (ngx_http_upstream_round_robin.c).
	Smooth Rotation = "smooth"
	// EarliestDeadline takes the server whose deadline, 1/weight after its last, is first (Traefik's wrr.go).
	EarliestDeadline Rotation = "earliest deadline"
	// FairWeighted keeps a tree of servers by their next position, in whole numbers (HAProxy's lb_fwrr.c).
	FairWeighted Rotation = "fair weighted"
	// StaticMap walks a precomputed map in which every server has as many places as its weight (HAProxy's lb_map.c).
	StaticMap Rotation = "static map"
	// Unweighted takes one server after another, regardless of weights.
	Unweighted Rotation = "unweighted"
)

// LoadMetric is the measure of how busy a server is.
type LoadMetric string

// The load metrics.
const (
	// InFlightPerWeight is requests in flight per weight (ngx_http_upstream_least_conn_module.c).
	InFlightPerWeight LoadMetric = "in flight per weight"
	// NextPerWeight includes the next request, unless nothing is in flight, in whole 256ths of a weight (HAProxy's
	// lb_fwlc.c).
	NextPerWeight LoadMetric = "with the next, per weight"
)

// DrawWeighting is the probability with which servers are drawn.
type DrawWeighting string

// The weightings.
const (
	DrawnByWeight  DrawWeighting = "weights"
	DrawnByArcs    DrawWeighting = "arcs"  // arcs of the hash ring (HAProxy's lb_chash.c)
	DrawnUniformly DrawWeighting = "alike" // regardless of weights
)

// Hash sends requests with equal keys to the same server, or to the same part of a split.
type Hash struct {
	Key        Key          `json:"key"`
	Function   HashFunction `json:"function,omitempty"`
	Consistent bool         `json:"consistent,omitempty"` // a lost or added server moves only its own keys
	// RotatesEmptyKeys: requests with an empty key are balanced by round robin.
	RotatesEmptyKeys bool `json:"rotates_empty_keys,omitempty"`
	// IncludesBackups: backups have their own places, which take the keys of servers that are down.
	IncludesBackups bool `json:"includes_backups,omitempty"`
}

// HashFunction maps keys to servers. The zero value is one that lbproof does not know.
type HashFunction string

// The hash functions.
const (
	// AddressOctets hashes the first three octets of an IPv4 address, and all of an IPv6 address
	// (ngx_http_upstream_ip_hash_module.c).
	AddressOctets HashFunction = "address octets"
	// CRC32Modulo is the key's CRC-32 modulo the sum of weights (ngx_http_upstream_hash_module.c, after
	// Cache::Memcached).
	CRC32Modulo HashFunction = "crc32 modulo"
	// Ketama is a ring of points computed from hosts, ports and weights (ngx_http_upstream_hash_module.c, after
	// Cache::Memcached::Fast).
	Ketama HashFunction = "ketama"
	// WeightMap is a map with as many places per server as its weight (HAProxy's lb_map.c). Addresses are used as
	// numbers, other keys by their sdbm hash.
	WeightMap HashFunction = "weight map"
	// NumberRing is a ring of points computed from server numbers and weights (HAProxy's lb_chash.c). Keys are hashed
	// as in WeightMap.
	NumberRing HashFunction = "number ring"
	// Murmur2Shares divides the range of the key's MurmurHash2 by the shares of a split
	// (ngx_http_split_clients_module.c).
	Murmur2Shares HashFunction = "murmur2 shares"
)

// IsRoundRobin reports whether servers rotate by weight, regardless of clients and load.
func (b Balance) IsRoundRobin() bool { return b.Kind == RoundRobin }

// ComparesAllServers reports whether the least busy or fastest of all servers is taken.
func (b Balance) ComparesAllServers() bool {
	return (b.Kind == LeastConnections || b.Kind == LeastTime) && b.Choices == 0
}

// Key returns the hashed key; empty if nothing is hashed.
func (b Balance) Key() Key { return b.Hash.hashedKey() }

// Key returns the hashed key; empty if nothing is hashed.
func (s Split) Key() Key { return s.Hash.hashedKey() }

func (h *Hash) hashedKey() Key {
	if h == nil {
		return Key{}
	}
	return h.Key
}
