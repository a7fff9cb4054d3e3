package model

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pos is where a promise is written. Line counts from 1; 0 means the whole file.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
}

// String gives file:line, the form that editors and CI logs turn into a link.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Config is the balancer-neutral reading of a configuration. Every part says where it is written. What the parts of one
// route or pool promise is in policies.go.
type Config struct {
	Balancer   string     `json:"balancer"` // a name from the table lbconfigs.All: it finds the reader, and stands in text
	Dialect    Dialect    `json:"dialect,omitzero"`
	Files      []File     `json:"files"` // the main file first
	Workers    Workers    `json:"workers"`
	Foreground bool       `json:"foreground,omitempty"` // the file itself keeps the balancer from becoming a daemon
	Listeners  []Listener `json:"listeners"`
	TLS        []TLS      `json:"tls,omitempty"`
	Pools      []Pool     `json:"pools"`
	Splits     []Split    `json:"splits,omitempty"`
	Routes     []Route    `json:"routes"`
	Sockets    []Socket   `json:"sockets,omitempty"`
	Reload     *Reload    `json:"reload,omitempty"`
	Problems   []Problem  `json:"problems,omitempty"`
	Needs      []Need     `json:"needs,omitempty"`
	Unread     []Unread   `json:"unread,omitempty"`
}

// Socket is a Unix socket on which the balancer takes commands, a line each.
type Socket struct {
	Pos     Pos     `json:"pos"`
	Path    string  `json:"path"`
	Command string  `json:"command"` // that asks for Counter
	Counter Counter `json:"counter"`
}

// File is one file of a configuration, kept byte for byte.
type File struct {
	Name    string `json:"name"` // as the user named it
	SHA256  string `json:"sha256"`
	Content Bytes  `json:"content"`
}

// NewFile fills in the digest of content.
func NewFile(name string, content []byte) File {
	return File{Name: name, SHA256: Digest(content), Content: content}
}

// Digest is the hexadecimal SHA-256 of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Bytes is file content that reads as text in JSON wherever it is text, so that a plan can be read and diffed.
type Bytes []byte

// MarshalJSON writes a string for UTF-8 and {"base64": …} for anything else.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*b = Bytes(text)
		return nil
	}
	var coded struct{ Base64 []byte }
	if err := json.Unmarshal(data, &coded); err != nil {
		return fmt.Errorf("file content is neither a string nor {\"base64\": …}: %w", err)
	}
	*b = coded.Base64
	return nil
}

// Workers is how many processes the balancer runs; where they share nothing, each keeps its own balancing state.
type Workers struct {
	Pos   Pos  `json:"pos"`
	Count int  `json:"count"` // 0 while Auto
	Auto  bool `json:"auto"`  // as many as the balancer sees processors
	// Connections is how many each may have, clients' and backends' together, so that a proxied request takes two; 0
	// where the balancer has no such limit or lbproof does not know it.
	Connections    int `json:"connections,omitempty"`
	ConnectionsPos Pos `json:"connections_pos,omitzero"`
}

// Listener is a port on which the balancer takes traffic.
type Listener struct {
	Pos     Pos  `json:"pos"`
	Port    int  `json:"port"`
	TLS     bool `json:"tls,omitempty"`
	HTTP2   bool `json:"http2,omitempty"`   // offered by ALPN, or spoken in clear where TLS is false
	Default bool `json:"default,omitempty"` // said to answer requests for any host
}

// Pool is a group of servers that share traffic (nginx: upstream, HAProxy: backend, Traefik: service).
type Pool struct {
	Pos         Pos              `json:"pos"`
	Name        string           `json:"name"`
	Balance     Balance          `json:"balance"`
	WhenFull    FullServerPolicy `json:"when_full,omitempty"` // what becomes of requests beyond a server's Conns
	SharedState bool             `json:"shared_state"`        // of balancing and of failures: all workers have it in common
	Servers     []Server         `json:"servers"`
	Sticky      *Sticky          `json:"sticky,omitempty"`
	Keepalive   *Keepalive       `json:"keepalive,omitempty"`
	Resolve     *Resolve         `json:"resolve,omitempty"`
	Queue       *Timeout         `json:"queue,omitempty"` // how long a request waits for a server below its limit
}

// FullServerPolicy is what becomes of a request whose server has as many in flight as it may have. The zero value is a pool
// without such limits.
type FullServerPolicy string

// The laws of full servers.
const (
	// SkipFullServers: another server gets it, a backup if there is no other, and nobody where all are full
	SkipFullServers FullServerPolicy = "passed over"
	QueueForServer  FullServerPolicy = "queues" // it waits for a server with room, for as long as Queue says
)

// Server is one member of a pool.
type Server struct {
	Pos         Pos          `json:"pos"`
	Name        string       `json:"name,omitempty"` // where the balancer gives it one beside its address
	Host        string       `json:"host"`
	Port        int          `json:"port"`
	Weight      int          `json:"weight"` // 1 or more; one of 0 is Drain, and its Weight does not matter
	Backup      bool         `json:"backup,omitempty"`
	Down        bool         `json:"down,omitempty"`
	Drain       bool         `json:"drain,omitempty"` // no new traffic, by a weight of 0
	TLS         bool         `json:"tls,omitempty"`   // the balancer speaks TLS to it
	Ejection    *Ejection    `json:"ejection,omitempty"`
	HealthCheck *HealthCheck `json:"health_check,omitempty"`
	MaxConns    *Number      `json:"max_conns,omitempty"` // requests that it is given at a time
}

// Route is what the balancer does with the requests that it matches: proxy to Pool, or answer by itself.
type Route struct {
	Pos         Pos         `json:"pos"`
	Path        string      `json:"path"`
	Exact       bool        `json:"exact,omitempty"`
	Regex       bool        `json:"regex,omitempty"`
	BeatsRegex  bool        `json:"beats_regex,omitempty"`  // as longest prefix it wins over any regular expression
	Named       bool        `json:"named,omitempty"`        // Path is a name and no request's path
	Internal    bool        `json:"internal,omitempty"`     // taken by the balancer's own redirects only
	Port        int         `json:"port"`                   // the first of Ports
	Ports       []int       `json:"ports,omitempty"`        // where it has several
	TLS         bool        `json:"tls,omitempty"`          // Port speaks TLS
	Hosts       []string    `json:"hosts,omitempty"`        // the request's host; any where it is empty
	DefaultHost bool        `json:"default_host,omitempty"` // also for hosts that no route names
	Conditions  []Condition `json:"conditions,omitempty"`   // further conditions, which must all hold
	Priority    int         `json:"priority,omitempty"`     // the higher is tried first

	Pool           string          `json:"pool,omitempty"` // the name of a Pool or a Split
	PoolPos        Pos             `json:"pool_pos,omitzero"`
	StaticResponse *StaticResponse `json:"static_response,omitempty"`
	Redirect       *Redirect       `json:"redirect,omitempty"`
	LocalContent   *LocalContent   `json:"local_content,omitempty"`
	SetHeaders     []Header        `json:"set_headers,omitempty"` // on the request to the backend
	AddHeaders     []Header        `json:"add_headers,omitempty"` // on the response to the client
	Limits         []Limit         `json:"limits,omitempty"`
	Retry          *Retry          `json:"retry,omitempty"`
	Timeouts       []Timeout       `json:"timeouts,omitempty"`
	MaxBody        *Number         `json:"max_body,omitempty"` // bytes; 0 is no limit
	Compress       *Compress       `json:"compress,omitempty"`
	Access         []Access        `json:"access,omitempty"`
	Auth           *Auth           `json:"auth,omitempty"`
	ErrorPages     []ErrorPage     `json:"error_pages,omitempty"`
	Upgrade        *Upgrade        `json:"upgrade,omitempty"`
	Breaker        *Breaker        `json:"breaker,omitempty"`
	Mirrors        []Share         `json:"mirrors,omitempty"`
	Rules          []Rule          `json:"rules,omitempty"`
	Logs           []Log           `json:"logs,omitempty"`
	MayRefuse      bool            `json:"may_refuse,omitempty"` // limits, access rules or rewrites may answer in the pool's place
}

// StaticResponse is a response that the balancer gives without a backend.
type StaticResponse struct {
	Pos  Pos      `json:"pos"`
	Code int      `json:"code"`
	Body Template `json:"body,omitzero"`
}

// Header is a header field that the balancer sets.
type Header struct {
	Pos   Pos      `json:"pos"`
	Name  string   `json:"name"`
	Value Template `json:"value"` // empty: the field is taken away
	// Append: it stands beside what the client sent under this name, and does not replace it.
	Append bool `json:"append,omitempty"`
	// Statuses of the responses that carry it; nil is all. Only for response headers.
	Statuses []int `json:"statuses,omitempty"`
	// ProxiedOnly: a response that the balancer makes by itself does not carry it. Only for response headers.
	ProxiedOnly bool `json:"proxied_only,omitempty"`
}

// Unread is a part of the configuration that lbproof draws no claim from, and why.
type Unread struct {
	Pos    Pos    `json:"pos"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

// Effect is what becomes of a part that cannot work.
type Effect string

// The effects.
const (
	Rejected   Effect = "rejected" // the balancer does not start with it
	Dropped    Effect = "dropped"  // the balancer starts without it
	Inert      Effect = "inert"    // accepted, and never has an effect
	Misleading Effect = "misleading"  // does something else than it seems to
)

// Problem is a part of the configuration that cannot work.
type Problem struct {
	Pos     Pos    `json:"pos"`
	Effect  Effect `json:"effect"`
	Text    string `json:"text"`               // the cause, one sentence
	Instead string `json:"instead,omitempty"`  // the nearest valid equivalent
	FixedIn string `json:"fixed_in,omitempty"` // from this version of the balancer on there is no problem
}

// Need is something of the balancer's own host that the configuration refers to, and that the stack makes for it.
type Need struct {
	Pos     Pos      `json:"pos"`
	Kind    NeedKind `json:"kind"`
	Path    string   `json:"path"`               // in the balancer's file system; of a NeedHost, host:port
	Hosts   []string `json:"hosts,omitempty"`    // of a certificate: the names it is for
	KeyFile string   `json:"key_file,omitempty"` // of a certificate: the file that holds its key, where that is another
}

// NeedKind is what must be made.
type NeedKind string

// The kinds of needs.
const (
	NeedCertificate NeedKind = "certificate" // with its key in With, or in the same file
	NeedAuthority   NeedKind = "authority"   // certificate of the authority that signs the others
	NeedDirectory   NeedKind = "directory"   // with an index.html
	NeedHost        NeedKind = "host"        // a service that is no pool's server: forward auth, a mirror, a collector
)

// Pool finds a pool by name; ok is false where there is none.
func (c Config) Pool(name string) (pool Pool, ok bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}

// Addr is host:port.
func (s Server) Addr() string { return fmt.Sprintf("%s:%d", s.Host, s.Port) }

// Split finds a split by name; ok is false where there is none.
func (c Config) Split(name string) (split Split, ok bool) {
	for _, s := range c.Splits {
		if s.Name == name {
			return s, true
		}
	}
	return Split{}, false
}

// Route finds the route that takes a request for a host and path on a port. Among routes whose port, host and path fit,
// a higher priority wins; among equals an exact path, then a longest prefix that is final, then the first regular
// expression, then the longest prefix (nginx.org/en/docs/http/ngx_http_core_module.html#location). Routes with further
// conditions and internal ones are passed over. A request without a host asks for the balancer, as "nginx".
func (c Config) Route(port int, host, path string) (route Route, ok bool) {
	if host == "" {
		host = c.Balancer
	}
	host = normalizeRequestHost(host)
	named := c.namesHost(port, host)
	var prefix, regex *Route
	best := 0
	for i := range c.Routes {
		r := &c.Routes[i]
		open := !r.Internal && len(r.Conditions) == 0
		if !open || !r.listensOn(port) || !r.servesHost(host, named) {
			continue
		}
		if r.Priority != 0 && !r.matchesPath(path) {
			continue
		}
		switch {
		case r.Priority > best:
			route, ok, best = *r, true, r.Priority
		case r.Priority < best || r.Priority != 0:
		case r.Exact:
			if r.Path == path {
				return *r, true
			}
		case r.Regex:
			if regex == nil && r.matchesPath(path) {
				regex = r
			}
		case r.matchesPath(path) && (prefix == nil || len(r.Path) > len(prefix.Path)):
			prefix = r
		}
	}
	if ok {
		return route, true
	}
	return pickRoute(prefix, regex)
}

// pickRoute prefers the first regular expression to the longest prefix, unless that is final. Either may be nil.
func pickRoute(prefix, regex *Route) (route Route, ok bool) {
	switch {
	case prefix != nil && (prefix.BeatsRegex || regex == nil):
		return *prefix, true
	case regex != nil:
		return *regex, true
	}
	return Route{}, false
}

// normalizeRequestHost is a request's host as routes name hosts: in lower case, without a port.
func normalizeRequestHost(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	return host
}

// namesHost says whether a route of the port asks for this host, a bare one, by name.
func (c Config) namesHost(port int, host string) bool {
	for i := range c.Routes {
		if r := &c.Routes[i]; r.listensOn(port) && len(r.Hosts) > 0 && r.servesHost(host, true) {
			return true
		}
	}
	return false
}

func (r *Route) listensOn(port int) bool { return r.Port == port || slices.Contains(r.Ports, port) }

// servesHost says whether the route takes requests for the host, a bare one. named: some route asks for it by name.
func (r *Route) servesHost(host string, named bool) bool {
	for _, h := range r.Hosts {
		if h == host || strings.HasPrefix(h, "*.") && strings.HasSuffix(host, h[1:]) {
			return true
		}
	}
	if !named && r.DefaultHost {
		return true
	}
	return len(r.Hosts) == 0 && (!named || r.Priority > 0)
}

// matchesPath says whether the route's path takes a request's.
func (r *Route) matchesPath(path string) bool {
	switch {
	case r.Exact:
		return r.Path == path
	case r.Regex:
		re, err := regexp.Compile(r.Path)
		return err == nil && re.MatchString(path)
	}
	return strings.HasPrefix(path, r.Path)
}

// Key tells routes apart in claims: scheme and host where one is asked for, port unless it is the protocol's own, path.
func (r Route) Key() string {
	key := ""
	switch {
	case len(r.Hosts) > 0 && r.TLS:
		key = "https://" + r.Hosts[0]
	case len(r.Hosts) > 0:
		key = "http://" + r.Hosts[0]
	case r.TLS:
		key = "https:"
	}
	if r.Port != 80 && !(r.TLS && r.Port == 443) {
		key += fmt.Sprintf(":%d", r.Port)
	}
	switch {
	case r.Exact:
		key += "= " + r.Path
	case r.Regex:
		key += "~ " + r.Path
	default:
		key += r.Path
	}
	if len(r.Conditions) > 0 {
		key += " if " + strings.Join(Sources(r.Conditions), " and ")
	}
	return key
}

// ProbeHost says whether a plain request takes the route for certain, and which host it must name; empty is any.
func (r Route) ProbeHost() (host string, ok bool) {
	if len(r.Hosts) > 0 {
		host = strings.Replace(r.Hosts[0], "*", "lbproof", 1)
		if host == "" {
			return "", false
		}
	}
	return host, !r.Regex && !r.Internal && len(r.Conditions) == 0
}

// BalancerAnswer is what the balancer itself said to a configuration: its own checker, then its start.
type BalancerAnswer struct {
	Version  string           `json:"version"`
	Accepted bool             `json:"accepted"` // by the checker; true where it has none
	Started  bool             `json:"started"`
	Messages []StartupMessage `json:"messages,omitempty"` // warnings and errors
}

// StartupMessage is one line that the balancer printed.
type StartupMessage struct {
	Pos  Pos    `json:"pos,omitzero"` // in the user's files, where the line names one
	Text string `json:"text"`
}
