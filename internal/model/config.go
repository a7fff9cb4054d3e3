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

// Pos is where a part of a configuration is written. Lines count from 1; 0 is the whole file.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
}

// String returns file:line, which editors and CI logs turn into a link.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Config is a configuration in balancer-neutral terms. Every part has its position. The policies of routes and pools
// are in policies.go.
type Config struct {
	Balancer   string     `json:"balancer"` // its name in lbconfigs.All
	Dialect    Dialect    `json:"dialect,omitzero"`
	Files      []File     `json:"files"` // the main file first
	Workers    Workers    `json:"workers"`
	Foreground bool       `json:"foreground,omitempty"` // the file keeps the balancer in the foreground
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

// Socket is a Unix socket on which the balancer takes one command per line.
type Socket struct {
	Pos     Pos     `json:"pos"`
	Path    string  `json:"path"`
	Command string  `json:"command"` // returns Counter
	Counter Counter `json:"counter"`
}

// File is one file of a configuration, kept byte for byte.
type File struct {
	Name    string `json:"name"` // as the user named it
	SHA256  string `json:"sha256"`
	Content Bytes  `json:"content"`
}

// NewFile returns a file with its digest.
func NewFile(name string, content []byte) File {
	return File{Name: name, SHA256: Digest(content), Content: content}
}

// Digest returns the hexadecimal SHA-256 of b.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Bytes is file content. In JSON it is a string if it is UTF-8, so that plans can be read and diffed.
type Bytes []byte

// MarshalJSON writes a string for UTF-8 and {"base64": …} for anything else.
func (b Bytes) MarshalJSON() ([]byte, error) {
	if utf8.Valid(b) {
		return json.Marshal(string(b))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON reads what MarshalJSON writes.
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

// Workers are the processes of the balancer. Without shared state each balances by itself.
type Workers struct {
	Pos   Pos  `json:"pos"`
	Count int  `json:"count"` // 0 if Auto
	Auto  bool `json:"auto"`  // one per processor
	// Connections is the limit per worker, of client and backend connections together: a proxied request takes two.
	// 0: none, or unknown.
	Connections    int `json:"connections,omitempty"`
	ConnectionsPos Pos `json:"connections_pos,omitzero"`
}

// Listener is a port on which the balancer takes traffic.
type Listener struct {
	Pos     Pos  `json:"pos"`
	Port    int  `json:"port"`
	TLS     bool `json:"tls,omitempty"`
	HTTP2   bool `json:"http2,omitempty"`   // offered by ALPN; without TLS spoken in clear text
	Default bool `json:"default,omitempty"` // marked as the default for any host
}

// Pool is a group of servers that share traffic (nginx: upstream, HAProxy: backend, Traefik: service).
type Pool struct {
	Pos         Pos              `json:"pos"`
	Name        string           `json:"name"`
	Balance     Balance          `json:"balance"`
	WhenFull    FullServerPolicy `json:"when_full,omitempty"` // beyond a server's MaxConns
	SharedState bool             `json:"shared_state"`        // all workers share rotation and failure counts
	Servers     []Server         `json:"servers"`
	Sticky      *Sticky          `json:"sticky,omitempty"`
	Keepalive   *Keepalive       `json:"keepalive,omitempty"`
	Resolve     *Resolve         `json:"resolve,omitempty"`
	Queue       *Timeout         `json:"queue,omitempty"` // for a server below its limit
}

// FullServerPolicy is what happens to a request whose server has MaxConns requests in flight. The zero value is a pool
// without such limits.
type FullServerPolicy string

// The policies for full servers.
const (
	// SkipFullServers: another server gets the request, else a backup; if all are full it fails
	SkipFullServers FullServerPolicy = "passed over"
	QueueForServer  FullServerPolicy = "queues" // it waits for a server, up to Pool.Queue
)

// Server is one member of a pool.
type Server struct {
	Pos         Pos          `json:"pos"`
	Name        string       `json:"name,omitempty"` // if the balancer names servers
	Host        string       `json:"host"`
	Port        int          `json:"port"`
	Weight      int          `json:"weight"` // 1 or more; of a Drain server irrelevant
	Backup      bool         `json:"backup,omitempty"`
	Down        bool         `json:"down,omitempty"`
	Drain       bool         `json:"drain,omitempty"` // weight 0: no new traffic
	TLS         bool         `json:"tls,omitempty"`   // to the server
	Ejection    *Ejection    `json:"ejection,omitempty"`
	HealthCheck *HealthCheck `json:"health_check,omitempty"`
	MaxConns    *Number      `json:"max_conns,omitempty"` // requests in flight
}

// Route is a set of requests and what the balancer does with them: proxy to Pool, or respond by itself.
type Route struct {
	Pos         Pos         `json:"pos"`
	Path        string      `json:"path"`
	Exact       bool        `json:"exact,omitempty"`
	Regex       bool        `json:"regex,omitempty"`
	BeatsRegex  bool        `json:"beats_regex,omitempty"`  // if it is the longest matching prefix (nginx: ^~)
	Named       bool        `json:"named,omitempty"`        // Path is a name, not a request path (nginx: @name)
	Internal    bool        `json:"internal,omitempty"`     // only for internal redirects and subrequests
	Port        int         `json:"port"`                   // the first of Ports
	Ports       []int       `json:"ports,omitempty"`        // if there are several
	TLS         bool        `json:"tls,omitempty"`          // Port speaks TLS
	Hosts       []string    `json:"hosts,omitempty"`        // empty: any host
	DefaultHost bool        `json:"default_host,omitempty"` // also takes hosts that no route names
	Conditions  []Condition `json:"conditions,omitempty"`   // further conditions; all must hold
	Priority    int         `json:"priority,omitempty"`     // the highest is tried first

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
	MayRefuse      bool            `json:"may_refuse,omitempty"` // before the pool does: limits, access rules, rewrites
}

// StaticResponse is a response that the balancer sends without a backend.
type StaticResponse struct {
	Pos  Pos      `json:"pos"`
	Code int      `json:"code"`
	Body Template `json:"body,omitzero"`
}

// Header is a header that the balancer sets.
type Header struct {
	Pos   Pos      `json:"pos"`
	Name  string   `json:"name"`
	Value Template `json:"value"` // empty: the header is removed
	// Append: a header of that name from the client is kept as well.
	Append bool `json:"append,omitempty"`
	// Statuses of the responses that carry it; nil: all. Only for response headers.
	Statuses []int `json:"statuses,omitempty"`
	// ProxiedOnly: responses of the balancer itself do not carry it. Only for response headers.
	ProxiedOnly bool `json:"proxied_only,omitempty"`
}

// Unread is a part of the configuration from which lbproof derives no claim, and why.
type Unread struct {
	Pos    Pos    `json:"pos"`
	Text   string `json:"text"`
	Reason string `json:"reason"`
}

// Effect is how the balancer treats a part that cannot work.
type Effect string

// The effects.
const (
	Rejected   Effect = "rejected"   // the balancer does not start with it
	Dropped    Effect = "dropped"    // the balancer starts without it
	Inert      Effect = "inert"      // accepted, but has no effect
	Misleading Effect = "misleading" // does something other than it appears to
)

// Problem is a part of the configuration that cannot work.
type Problem struct {
	Pos     Pos    `json:"pos"`
	Effect  Effect `json:"effect"`
	Text    string `json:"text"`               // the cause, one sentence
	Instead string `json:"instead,omitempty"`  // what to write
	FixedIn string `json:"fixed_in,omitempty"` // the balancer version without the problem
}

// Need is something on the balancer's host that the configuration refers to. The stack provides it.
type Need struct {
	Pos     Pos      `json:"pos"`
	Kind    NeedKind `json:"kind"`
	Path    string   `json:"path"`               // in the balancer's file system; for NeedHost host:port
	Hosts   []string `json:"hosts,omitempty"`    // of a certificate
	KeyFile string   `json:"key_file,omitempty"` // of a certificate, if its key is in another file
}

// NeedKind is what to provide.
type NeedKind string

// The kinds of needs.
const (
	NeedCertificate NeedKind = "certificate" // with its key, in KeyFile or in the same file
	NeedAuthority   NeedKind = "authority"   // the certificate of the authority that signs the others
	NeedDirectory   NeedKind = "directory"   // with an index.html
	NeedHost        NeedKind = "host"        // a service outside all pools: forward auth, mirror, collector
)

// Pool returns the pool of that name; ok is false if there is none.
func (c Config) Pool(name string) (pool Pool, ok bool) {
	for _, p := range c.Pools {
		if p.Name == name {
			return p, true
		}
	}
	return Pool{}, false
}

// Addr returns host:port.
func (s Server) Addr() string { return fmt.Sprintf("%s:%d", s.Host, s.Port) }

// Split returns the split of that name; ok is false if there is none.
func (c Config) Split(name string) (split Split, ok bool) {
	for _, s := range c.Splits {
		if s.Name == name {
			return s, true
		}
	}
	return Split{}, false
}

// Route returns the route of a request for a host and path on a port. Among routes whose port, host and path match, the
// highest priority wins; of equals an exact path, then a longest prefix that beats regular expressions, then the first
// regular expression, then the longest prefix (nginx.org/en/docs/http/ngx_http_core_module.html#location). Internal
// routes and routes with further conditions are skipped. A request without a host names the balancer, as "nginx".
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

// pickRoute prefers the first regular expression to the longest prefix, unless the prefix beats it. Either may be nil.
func pickRoute(prefix, regex *Route) (route Route, ok bool) {
	switch {
	case prefix != nil && (prefix.BeatsRegex || regex == nil):
		return *prefix, true
	case regex != nil:
		return *regex, true
	}
	return Route{}, false
}

// normalizeRequestHost returns a request's host in lower case and without its port, as routes name hosts.
func normalizeRequestHost(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	return host
}

// namesHost reports whether a route of the port names this normalized host.
func (c Config) namesHost(port int, host string) bool {
	for i := range c.Routes {
		if r := &c.Routes[i]; r.listensOn(port) && len(r.Hosts) > 0 && r.servesHost(host, true) {
			return true
		}
	}
	return false
}

func (r *Route) listensOn(port int) bool { return r.Port == port || slices.Contains(r.Ports, port) }

// servesHost reports whether the route takes requests for the normalized host. named: some route names it.
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

// matchesPath reports whether the route takes requests for a path.
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

// Key identifies a route in claims: [scheme://host][:port][ = | ~ ]path[ if conditions]. A path alone is http on port
// 80 for any host; "https://*" is https for any host.
func (r Route) Key() string {
	key := ""
	switch {
	case len(r.Hosts) > 0 && r.TLS:
		key = "https://" + r.Hosts[0]
	case len(r.Hosts) > 0:
		key = "http://" + r.Hosts[0]
	case r.TLS:
		key = "https://*"
	}
	if r.Port != 80 && !(r.TLS && r.Port == 443) {
		key += fmt.Sprintf(":%d", r.Port)
	}
	switch {
	case r.Exact:
		key += " = "
	case r.Regex:
		key += " ~ "
	case r.Named:
		key += " "
	}
	key = strings.TrimSpace(key + r.Path)
	if len(r.Conditions) > 0 {
		key += " if " + strings.Join(Sources(r.Conditions), " and ")
	}
	return key
}

// ProbeHost returns the host of a plain request that is certain to take the route; empty is any. ok is false if no
// request is.
func (r Route) ProbeHost() (host string, ok bool) {
	if len(r.Hosts) > 0 {
		host = strings.Replace(r.Hosts[0], "*", "lbproof", 1)
		if host == "" {
			return "", false
		}
	}
	return host, !r.Regex && !r.Internal && len(r.Conditions) == 0
}

// BalancerAnswer is the balancer's own verdict on a configuration: of its checker, then of its start.
type BalancerAnswer struct {
	Version  string           `json:"version"`
	Accepted bool             `json:"accepted"` // by the checker; true if it has none
	Started  bool             `json:"started"`
	Messages []StartupMessage `json:"messages,omitempty"` // warnings and errors
}

// StartupMessage is one line that the balancer printed.
type StartupMessage struct {
	Pos  Pos    `json:"pos,omitzero"` // in the user's files, if the line names one
	Text string `json:"text"`
}
