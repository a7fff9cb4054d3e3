package checks

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/stats"
)

// Keys that are clients' addresses, in the readers' words.
const (
	addressKey  = "the client's address"
	networkKey  = "the client's address (IPv4: its first three octets)"
	everyKey    = 3  // times each key is sent
	manyKeys    = 96 // distinct ones
	networkSize = 256
)

// keyTrials send many keys, each more than once.
func keyTrials(pool model.Pool, r plan.Request) []Trial {
	t := Trial{Kind: Keyed + " " + pool.Name, Load: plan.Phase{Count: everyKey * manyKeys, Concurrency: inTurns, Requests: []plan.Request{r}}}
	t.Shows = fmt.Sprintf("one of %d keys (%s) of %s at another server than the hash says, or at two", manyKeys, pool.Key, pool.Name)
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(pool.Key, "$http_"), "hdr("), ")")
	switch {
	case isAddress(pool.Key):
		t.Load.Clients = plan.Clients{Count: manyKeys, Addresses: true}
		if pool.Key == networkKey {
			t.Load.Clients.Apart = networkSize
		}
	case pool.Key == "$request_uri", pool.Key == "$uri", pool.Key == "uri", strings.HasPrefix(pool.Key, "$arg_"):
		t.Load.Requests = nil
		query := "?key="
		switch argument, is := strings.CutPrefix(pool.Key, "$arg_"); {
		case is:
			query = "?" + argument + "="
		case pool.Key != "$request_uri":
			query = ""
		}
		for i := range manyKeys {
			one := r
			one.Path += query + strconv.Itoa(i)
			t.Load.Requests = append(t.Load.Requests, one)
		}
	case strings.HasPrefix(pool.Key, "$http_"), strings.HasPrefix(pool.Key, "hdr("):
		t.Load.Keys = plan.Keys{Header: strings.ReplaceAll(name, "_", "-"), Values: madeUp(manyKeys)}
	case strings.HasPrefix(pool.Key, "$cookie_"):
		t.Load.Keys = plan.Keys{Cookie: strings.TrimPrefix(pool.Key, "$cookie_"), Values: madeUp(manyKeys)}
	default:
		return nil
	}
	return []Trial{t}
}

// tunnelTrials are those of a pool to which only handshakes of WebSocket connections lead, by clients' addresses.
func tunnelTrials(cfg model.Config, claim plan.Claim, pool model.Pool) []Trial {
	i := slices.IndexFunc(cfg.Routes, func(r model.Route) bool { return r.Pool == pool.Name && len(r.Access) == 0 })
	if i < 0 || !isAddress(pool.Key) {
		return nil
	}
	r, ok := wishing(cfg, cfg.Routes[i], "")
	if !ok || r.Header["Upgrade"] == "" {
		return nil
	}
	r = upgrading(r)
	r.Claim = claim.ID // its way depends on a condition
	trials := keyTrials(pool, r)
	for i := range trials {
		trials[i].Load.Engine, trials[i].Load.Timeout = plan.Prober, grace
	}
	return trials
}

func madeUp(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("key-%d", i+1)
	}
	return values
}

func isAddress(key string) bool {
	return slices.Contains([]string{addressKey, networkKey, "$remote_addr", "$binary_remote_addr", "src"}, key)
}

// keyOf is the value of a key of a hit's request; ok is false where lbproof does not know how to find it.
func keyOf(h history.History, key string, hit history.Hit) (value []byte, ok bool) {
	l := h.Plan.Phases[hit.Load]
	r := l.Request(hit.Index)
	if value, ok := keyIn(r, key); ok {
		return value, true
	}
	name, has := strings.CutPrefix(key, "$http_")
	if inside, is := strings.CutPrefix(key, "hdr("); is {
		name, has = strings.TrimSuffix(inside, ")"), true
	}
	switch {
	case isAddress(key):
		address, err := netip.ParseAddr(clientAddress(h, hit.Load, hit.Seq))
		if key == "$remote_addr" {
			return []byte(address.String()), err == nil
		}
		return address.AsSlice(), err == nil
	case key == "$host", key == "$http_host":
		return []byte(host(h, r)), true
	case has:
		return []byte(header(l, r, strings.ReplaceAll(name, "_", "-"), hit.Index)), true
	case strings.HasPrefix(key, "$cookie_"):
		if l.Keys.Cookie == strings.TrimPrefix(key, "$cookie_") {
			return []byte(l.Key(hit.Index)), true
		}
		return nil, r.Header["Cookie"] == "" && !l.Clients.Cookies
	}
	return nil, false
}

// keyIn is the value of a key that is a part of a request's path.
func keyIn(r plan.Request, key string) (value []byte, ok bool) {
	path, query, _ := strings.Cut(r.Path, "?")
	switch {
	case key == "$request_uri":
		return []byte(r.Path), true
	case key == "$uri", key == "uri":
		return []byte(path), true
	case strings.HasPrefix(key, "$arg_"):
		values, err := url.ParseQuery(query)
		return []byte(values.Get(strings.TrimPrefix(key, "$arg_"))), err == nil
	}
	return nil, false
}

// header is the value of a header field that a request was sent with.
func header(l plan.Phase, r plan.Request, name string, index int) string {
	if strings.EqualFold(l.Keys.Header, name) {
		return l.Key(index)
	}
	for k, v := range r.Header {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// members are the servers that have a place in a pool's hash, and which of them can take requests while nobody has died.
func members(cfg model.Config, pool model.Pool) (servers []model.Server, up []bool) {
	for _, s := range pool.Servers {
		if s.Backup && cfg.Balancer == "nginx" {
			continue // in a list of their own
		}
		servers = append(servers, s)
		up = append(up, !s.Backup && !s.Down && !s.Drain)
	}
	return servers, up
}

// mapOf recomputes where a pool sends keys; nil where lbproof does not know the function.
func mapOf(cfg model.Config, pool model.Pool, servers []model.Server, up []bool) stats.Map {
	weights := weightsOf(servers)
	switch word, _, _ := strings.Cut(pool.Method, " "); {
	case cfg.Balancer == "nginx" && pool.Key == networkKey:
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

// Homes finds the server that a pool's hash sends a hit's request to while all are up; empty where lbproof does not know.
func Homes(h history.History, pool model.Pool) func(history.Hit) string {
	servers, up := members(h.Plan.Config, pool)
	m := mapOf(h.Plan.Config, pool, servers, up)
	return func(hit history.Hit) string {
		key, ok := keyOf(h, pool.Key, hit)
		if !ok || m == nil {
			return ""
		}
		return servers[m(key)].Host
	}
}

// keyed follows keys to their servers.
type keyed struct {
	h       history.History
	pool    model.Pool
	servers []model.Server
	up      []bool
	deaths  []*episode
	calm    []window
	maps    map[string]stats.Map // by the server that is dead
	home    map[string]string    // by dead server and key
	wrong   examples
	n, far  int // keys, and requests while a server was dead
	strange string
}

func judgeKeys(claim plan.Claim, h history.History, pool model.Pool) Finding {
	k := keyed{h: h, pool: pool, deaths: episodes(h, pool, refusing...), maps: map[string]stats.Map{}, home: map[string]string{}}
	k.servers, k.up = members(h.Plan.Config, pool)
	k.calm = []window{{0, over(h)}}
	for _, e := range k.deaths {
		k.calm = leaveOut(k.calm, window{e.mark.Ordered, e.mark.To + knownAgain(e.server) + settling})
	}
	k.calm = undisturbed(h, k.calm)
	find := journeys(h)
	for hit := range h.Hits {
		j := find(hit.Seq)
		if j == nil || j.tunnel || hit.Server == "" {
			continue
		}
		if j.request.Claim == claim.ID || j.route.Pool == pool.Name && h.Plan.Phases[j.load].Engine != plan.Prober {
			k.follow(hit)
		}
	}
	largest := slices.Max(stats.Shares(weightsOf(rotation(pool))))
	f := Finding{
		N: k.n, Need: int(math.Ceil(math.Log(h.Plan.Beta) / math.Log(largest))), Broken: k.strange, Counter: k.wrong.list(),
		Test: "every key's server against the map that is recomputed from the configuration", Predicted: "each where the map says",
		Measured: fmt.Sprintf("%s, %s elsewhere", plural(k.n, "key"), number(k.wrong.total)),
		Power: fmt.Sprintf("would have caught another map unless it agrees on %s or more of the keys, with probability %g",
			percent3(1-stats.Smallest(max(1, k.n), 1-h.Plan.Beta)), 1-h.Plan.Beta),
	}
	if mapOf(h.Plan.Config, pool, k.servers, k.up) == nil {
		f.Test, f.Predicted = "equal keys at one server", "one server each"
		f.Note = "which server each key belongs to is not judged: lbproof does not know this hash"
	}
	if k.far > 0 {
		f.Note = strings.TrimPrefix(f.Note+fmt.Sprintf("; %s while a server was dead were judged by the map without it", plural(k.far, "request")), "; ")
	}
	return f
}

// follow compares the server of a hit with the map's.
func (k *keyed) follow(hit history.Hit) {
	key, ok := keyOf(k.h, k.pool.Key, hit)
	if !ok {
		k.strange = fmt.Sprintf("lbproof cannot tell the key %s of a request", k.pool.Key)
		return
	}
	dead, known := k.dead(hit)
	if !known || len(key) == 0 { // without a key servers take turns
		return
	}
	if dead != "" {
		k.far++
	}
	if m := k.mapWithout(dead); m != nil {
		if i := m(key); i >= 0 && k.servers[i].Host != hit.Server {
			k.wrong.add("request %d with the key %s was answered by %s; the map says %s", hit.Seq, readable(k.pool.Key, key), hit.Server, k.servers[i].Host)
		}
	}
	place := dead + "|" + string(key)
	was, seen := k.home[place]
	switch {
	case !seen:
		k.home[place] = hit.Server
		k.n++
	case was != hit.Server:
		k.wrong.add("request %d with the key %s was answered by %s, and one before by %s", hit.Seq, readable(k.pool.Key, key), hit.Server, was)
	}
}

// dead is the one server that was known to be dead while a hit was under way; known is false where that is uncertain.
func (k *keyed) dead(hit history.Hit) (name string, known bool) {
	in := func(windows []window) bool {
		return slices.ContainsFunc(windows, func(w window) bool { return hit.Sent >= w.from && hit.Done <= w.to })
	}
	if in(k.calm) {
		return "", true
	}
	for _, s := range rotation(k.pool) {
		if in(knownDead(k.h, k.deaths, s)) {
			return s.Host, true
		}
	}
	return "", false
}

func (k *keyed) mapWithout(dead string) stats.Map {
	if m, made := k.maps[dead]; made {
		return m
	}
	up := slices.Clone(k.up)
	for i, s := range k.servers {
		up[i] = up[i] && s.Host != dead
	}
	k.maps[dead] = mapOf(k.h.Plan.Config, k.pool, k.servers, up)
	return k.maps[dead]
}

// readable is a key as people write it.
func readable(kind string, key []byte) string {
	if address, ok := netip.AddrFromSlice(key); ok && isAddress(kind) {
		return address.String()
	}
	return string(key)
}
