package model

// Balance is how a pool chooses the server of a request.
type Balance struct {
	Pos  Pos         `json:"pos,omitzero"` // zero where nobody wrote it
	Kind BalanceKind `json:"kind,omitempty"`
	// Rotation is RoundRobin's, and that of LeastConnections among servers that are equally busy.
	Rotation Rotation   `json:"rotation,omitempty"`
	Load     LoadMetric `json:"load,omitempty"` // what LeastConnections compares
	// Choices are servers that are drawn for each request and then compared; 0: all are.
	Choices int           `json:"choices,omitempty"`
	Draw    DrawWeighting `json:"draw,omitempty"`   // of those, or of Random's
	Hash    *Hash         `json:"hash,omitempty"`   // of ByHash
	Source  string        `json:"source,omitempty"` // as the user wrote it
}

// BalanceKind is what a choice of a server goes by. The zero value is a way that lbproof does not know.
type BalanceKind string

// The kinds of choices.
const (
	RoundRobin       BalanceKind = "round robin"
	LeastConnections BalanceKind = "least connections" // requests in flight
	LeastTime        BalanceKind = "least time"        // of answering
	Random           BalanceKind = "random"            // one draw
	ByHash           BalanceKind = "hash"
	FillFirst        BalanceKind = "fill first" // one server up to its limit, then the next
)

// Rotation is the order in which servers take turns.
type Rotation string

// The orders of turns.
const (
	// Smooth takes the server with the highest sum of its weights so far (ngx_http_upstream_round_robin.c).
	Smooth Rotation = "smooth"
	// EarliestDeadline takes the server whose next turn, 1/weight after its last, is due first (Traefik's wrr.go).
	EarliestDeadline Rotation = "earliest deadline"
	// FairWeighted is a tree of servers by the time of their next turn, in whole numbers (HAProxy's lb_fwrr.c).
	FairWeighted Rotation = "fair weighted"
	// StaticMap goes through a map that is made once, in which every server has as many places as its weight
	// (HAProxy's lb_map.c).
	StaticMap Rotation = "static map"
	// Unweighted takes one server after another, whatever their weights.
	Unweighted Rotation = "unweighted"
)

// LoadMetric is how busy a server is taken to be.
type LoadMetric string

// The laws of load.
const (
	// InFlightPerWeight is requests in flight per weight (ngx_http_upstream_least_conn_module.c).
	InFlightPerWeight LoadMetric = "in flight per weight"
	// NextPerWeight counts the request to come, unless there is no other, in whole 256ths of a weight (HAProxy's
	// lb_fwlc.c).
	NextPerWeight LoadMetric = "with the next, per weight"
)

// DrawWeighting is by which shares servers are drawn.
type DrawWeighting string

// The laws of draws.
const (
	DrawnByWeight  DrawWeighting = "weights"
	DrawnByArcs    DrawWeighting = "arcs"  // of a ring on which every server has points by its weight (HAProxy's lb_chash.c)
	DrawnUniformly DrawWeighting = "alike" // whatever the weights
)

// Hash sends requests with equal keys to the same server, or to the same share of a split.
type Hash struct {
	Key        Key          `json:"key"`
	Function   HashFunction `json:"function,omitempty"`
	Consistent bool         `json:"consistent,omitempty"` // a change of servers moves only their share of the keys
	// RotatesEmptyKeys: requests with an empty key take turns.
	RotatesEmptyKeys bool `json:"rotates_empty_keys,omitempty"`
	// IncludesBackups: backups have places of their own, where keys go while the server they belong to is dead.
	IncludesBackups bool `json:"includes_backups,omitempty"`
}

// HashFunction is where keys go. The zero value is a function that lbproof does not know.
type HashFunction string

// The functions.
const (
	// AddressOctets hashes the first three octets of an IPv4 address, and all of an IPv6 address
	// (ngx_http_upstream_ip_hash_module.c).
	AddressOctets HashFunction = "address octets"
	// CRC32Modulo is the key's CRC-32 modulo the sum of weights (ngx_http_upstream_hash_module.c, after
	// Cache::Memcached).
	CRC32Modulo HashFunction = "crc32 modulo"
	// Ketama is a ring of points that hosts, ports and weights make (ngx_http_upstream_hash_module.c, after
	// Cache::Memcached::Fast).
	Ketama HashFunction = "ketama"
	// WeightMap is a map with as many places for every server as its weight (HAProxy's lb_map.c); of an address its
	// bits count, of other keys their sdbm hash.
	WeightMap HashFunction = "weight map"
	// NumberRing is a ring of points that servers' numbers and weights make (HAProxy's lb_chash.c), with the same
	// hash of keys.
	NumberRing HashFunction = "number ring"
	// Murmur2Shares is the key's MurmurHash2, whose range is cut by the shares of a split
	// (ngx_http_split_clients_module.c).
	Murmur2Shares HashFunction = "murmur2 shares"
)

// IsRoundRobin reports whether servers take turns by their weights, whoever asks and however busy they are.
func (b Balance) IsRoundRobin() bool { return b.Kind == RoundRobin }

// ComparesAllServers reports whether all servers are compared and the least busy or the fastest is taken.
func (b Balance) ComparesAllServers() bool {
	return (b.Kind == LeastConnections || b.Kind == LeastTime) && b.Choices == 0
}

// Key is what is hashed; empty where nothing is.
func (b Balance) Key() Key { return b.Hash.hashedKey() }

// Key is what is hashed; empty where nothing is.
func (s Split) Key() Key { return s.Hash.hashedKey() }

func (h *Hash) hashedKey() Key {
	if h == nil {
		return Key{}
	}
	return h.Key
}
