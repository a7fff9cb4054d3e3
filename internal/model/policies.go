package model

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The policies of a route or a pool. Implicit marks an unwritten default; its Pos is the line that implies it.

// Number is a limit that is a plain number.
type Number struct {
	Pos      Pos   `json:"pos"`
	Implicit bool  `json:"implicit,omitempty"`
	Value    int64 `json:"value"`
}

// TLS is how the balancer speaks TLS to clients.
type TLS struct {
	Pos          Pos      `json:"pos"`
	Ports        []int    `json:"ports"`
	Hosts        []string `json:"hosts,omitempty"`
	Versions     []string `json:"versions"` // as TLSv1.2, oldest first
	VersionsPos  Pos      `json:"versions_pos"`
	Implicit     bool     `json:"implicit,omitempty"`   // Versions are the balancer's default
	Assumption   string   `json:"assumption,omitempty"` // which balancer version has this default
	Ciphers      string   `json:"ciphers,omitempty"`    // OpenSSL's notation; empty: the default
	CiphersPos   Pos      `json:"ciphers_pos,omitzero"`
	Certificate  string   `json:"certificate,omitempty"` // path of the file
	CertPos      Pos      `json:"cert_pos,omitzero"`
	TicketsOff   *Pos     `json:"tickets_off,omitempty"`
	SessionCache *Pos     `json:"session_cache,omitempty"` // for resumption by session ID
}

// Split distributes traffic over pools (nginx: split_clients, Traefik: weighted service).
type Split struct {
	Pos    Pos     `json:"pos"`
	Name   string  `json:"name"`
	Hash   *Hash   `json:"hash,omitempty"` // nil: round robin
	Shares []Share `json:"shares"`
	Sticky *Sticky `json:"sticky,omitempty"`
}

// Share is one part of a split, or a mirror.
type Share struct {
	Pos   Pos     `json:"pos"`
	Pool  string  `json:"pool"`
	Share float64 `json:"share"` // of all requests
}

// Log is an access log: a line per request, written when the response is complete.
type Log struct {
	Pos    Pos      `json:"pos"`
	File   string   `json:"file,omitempty"`  // empty: requests are not logged
	Format Template `json:"format,omitzero"` // of a line
}

// Sticky keeps a client on its server: by a cookie with a configured or generated name, or as Source describes.
type Sticky struct {
	Pos           Pos    `json:"pos"`
	Cookie        string `json:"cookie,omitempty"`
	GeneratedName string `json:"generated_name,omitempty"` // describes the name, if the balancer generates it
	// SetsCookie: the balancer sets the cookie for clients without it; else only servers do.
	SetsCookie bool             `json:"sets_cookie,omitempty"`
	Attributes CookieAttributes `json:"attributes,omitzero"`
	Source     []string         `json:"source,omitempty"` // the other parameters
}

// HasCookie reports whether a cookie identifies clients.
func (s Sticky) HasCookie() bool { return s.Cookie != "" || s.GeneratedName != "" }

// CookieName returns the cookie's name, or a description of it.
func (s Sticky) CookieName() string { return cmp.Or(s.Cookie, s.GeneratedName) }

// CookieAttributes are the configured attributes of a cookie; empty ones are not configured.
type CookieAttributes struct {
	Secure   bool   `json:"secure,omitempty"`
	HTTPOnly bool   `json:"http_only,omitempty"`
	SameSite string `json:"same_site,omitempty"`
	MaxAge   string `json:"max_age,omitempty"` // seconds
	Domain   string `json:"domain,omitempty"`
	Path     string `json:"path,omitempty"`
}

// Keepalive keeps connections to the servers open between requests.
type Keepalive struct {
	Pos         Pos           `json:"pos"`
	Implicit    bool          `json:"implicit,omitempty"`
	MaxIdle     int           `json:"max_idle,omitempty"`     // connections, per worker; 0: unlimited
	MaxRequests int           `json:"max_requests,omitempty"` // per connection; 0: unlimited
	IdleTimeout time.Duration `json:"idle_timeout_ns,omitempty"`
	Disabled    bool          `json:"disabled,omitempty"` // one connection per request
}

// Resolve is when server names are resolved.
type Resolve struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Interval time.Duration `json:"interval_ns,omitempty"` // 0: once, at startup
	// ServerPerAddress: each address of a name is a server of its own.
	ServerPerAddress bool `json:"server_per_address,omitempty"`
}

// Redirect sends the client to another URL.
type Redirect struct {
	Pos  Pos      `json:"pos"`
	Code int      `json:"code"`
	To   Template `json:"to"`
	// NonGetCode is the status for methods other than GET; 0: Code.
	NonGetCode int `json:"non_get_code,omitempty"`
}

// LocalContent is what the balancer itself serves: a status page, files, statistics.
type LocalContent struct {
	Pos         Pos      `json:"pos"`
	Description string   `json:"description"` // a noun phrase
	Counter     *Counter `json:"counter,omitempty"`
	// Control reports whether clients can also disable servers on the page, if all ControlConditions hold.
	Control           bool        `json:"control,omitempty"`
	ControlConditions []Condition `json:"control_conditions,omitempty"`
}

// Counter is where the balancer reports the number of client requests: on a page, or in response to a command.
type Counter struct {
	Form      CounterForm `json:"form"`
	Selector  string      `json:"selector"`            // a regular expression (its first group), a column or a metric
	RowFilter [2]string   `json:"row_filter,omitzero"` // of a table: a column, and its value in the rows to add
	// MetricPrefix is the start of this balancer's metrics, by which its page is recognized without the metric.
	MetricPrefix string `json:"metric_prefix,omitempty"`
	Query        string `json:"query,omitempty"`         // appended to the path, for plain text
	CountsItself bool   `json:"counts_itself,omitempty"` // reading it is counted, once complete
	// Exporter is the program that converts the page to Prometheus metrics; empty: none.
	Exporter string `json:"exporter,omitempty"`
}

// CounterForm is the format of the text with a Counter.
type CounterForm string

// The formats. The numbers of a table, and of metrics with several labels, are added.
const (
	CounterText    CounterForm = "text"    // any: Selector is a Go regular expression
	CounterTable   CounterForm = "table"   // comma-separated values; the first line names the columns after "# "
	CounterMetrics CounterForm = "metrics" // Prometheus (prometheus.io/docs/instrumenting/exposition_formats)
)

// Limit refuses requests beyond a rate, or beyond a number in flight.
type Limit struct {
	Pos       Pos            `json:"pos"`
	Algorithm LimitAlgorithm `json:"algorithm"`
	Counts    CountedEvent   `json:"counts,omitempty"` // of CountWindow
	Name      string         `json:"name,omitempty"`   // limits with the same algorithm and name count together
	Key       Key            `json:"key"`
	Rate      float64        `json:"rate,omitempty"` // requests per second
	Burst     int            `json:"burst,omitempty"`
	// Delay is how many excess requests pass at once before others are delayed; -1: none is delayed.
	Delay       int           `json:"delay,omitempty"`
	Window      time.Duration `json:"window_ns,omitempty"`     // of CountWindow: Burst requests in it
	MaxInFlight int           `json:"max_in_flight,omitempty"` // of InFlight
	Status      int           `json:"status"`
	// StatusImplicit: Status is the balancer's default, and not 429.
	StatusImplicit bool      `json:"status_implicit,omitempty"`
	DryRun         bool      `json:"dry_run,omitempty"`
	Exempt         Exemption `json:"exempt,omitzero"`
}

// LimitAlgorithm decides which requests a limit admits.
type LimitAlgorithm string

// The algorithms.
const (
	LeakyBucket LimitAlgorithm = "leaky bucket" // nginx limit_req: Burst+1 at once, then Rate; ignores refused requests
	CountWindow LimitAlgorithm = "count window" // HAProxy: Burst in a sliding window; refused requests are counted
	TokenBucket LimitAlgorithm = "token bucket" // Traefik: Burst at once, then Rate
	InFlight    LimitAlgorithm = "in flight"    // MaxInFlight concurrent requests
)

// CountedEvent is what CountWindow counts.
type CountedEvent string

// The countable events.
const (
	CountsRequests    CountedEvent = "requests"
	CountsConnections CountedEvent = "connections"
	CountsErrors      CountedEvent = "errors" // invalid requests, and 4xx responses
)

// Timeout is how long the balancer waits for an event.
type Timeout struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Kind     string        `json:"kind"`        // ConnectTimeout and so on
	Duration time.Duration `json:"duration_ns"` // 0: unlimited
	Result   string        `json:"result"`      // what the client sees
	// Statuses are the balancer's responses if no server accepts a connection in time. Only for ConnectTimeout.
	Statuses []int `json:"statuses,omitempty"`
	// HeaderOnly: it shows only before the end of the header, since another timeout runs during the body. Only for
	// ClientTimeout.
	HeaderOnly bool `json:"header_only,omitempty"`
}

// The kinds of timeouts: what the balancer waits for. They are part of the ids of claims.
const (
	ConnectTimeout = "connect to a server"
	SendTimeout    = "send to a server"
	ReadTimeout    = "receive a response"
	ClientTimeout  = "receive data from the client"
	HeaderTimeout  = "receive the request header"
	IdleTimeout    = "keep an idle client connection"
	TunnelTimeout  = "keep an idle tunnel"
	QueueTimeout   = "find a free server"
)

// Compress compresses responses for clients that accept it.
type Compress struct {
	Pos      Pos      `json:"pos"`
	MinBytes int      `json:"min_bytes"` // of the body
	Types    []string `json:"types"`
	Vary     bool     `json:"vary"`
}

// Access allows or denies clients by address. The first match decides.
type Access struct {
	Pos     Pos    `json:"pos"`
	Allow   bool   `json:"allow"`
	Clients string `json:"clients"` // address, network or "all"
}

// Auth asks a service, or a user list, whether a request may pass.
type Auth struct {
	Pos        Pos      `json:"pos"`
	Kind       AuthKind `json:"kind"`
	Target     string   `json:"target,omitempty"`      // the service's address, or the path of its route
	DeniedCode int      `json:"denied_code,omitempty"` // sent to denied clients; 0: the service's own
	// DenyCodes are the statuses by which the service denies a request; nil: all but 2xx. Any other status but 2xx is a
	// failure of the service, and clients get FailureCode.
	DenyCodes   []int `json:"deny_codes,omitempty"`
	FailureCode int   `json:"failure_code,omitempty"`
}

// AuthKind is who decides.
type AuthKind string

// The kinds of Auth.
const (
	AuthService AuthKind = "service" // a service at an address, outside the pools
	AuthRoute   AuthKind = "route"   // a service behind an internal route
	AuthUsers   AuthKind = "users"   // a list of users and passwords
)

// String names who decides.
func (a Auth) String() string {
	if a.Kind == AuthUsers {
		return "the user list"
	}
	return a.Target
}

// HasBackendAuth reports whether a backend, behind an internal route, decides about requests.
func (r Route) HasBackendAuth() bool { return r.Auth != nil && r.Auth.Kind == AuthRoute }

// ErrorPage replaces responses that have one of Codes.
type ErrorPage struct {
	Pos    Pos    `json:"pos"`
	Codes  []int  `json:"codes"`
	Target string `json:"target"` // a named or internal route, a path or an address
	Code   int    `json:"code"`   // for the client; 0: that of the target, -1: the original one
	// InterceptsBackend: responses of backends are replaced too (nginx: proxy_intercept_errors).
	InterceptsBackend bool `json:"intercepts_backend"`
}

// Upgrade passes WebSocket connections through.
type Upgrade struct {
	Pos           Pos  `json:"pos"`
	Implicit      bool `json:"implicit,omitempty"`
	Unconditional bool `json:"unconditional,omitempty"` // sent to the backend even if not requested
}

// Breaker refuses all requests for a while after too many failures.
type Breaker struct {
	Pos              Pos           `json:"pos"`
	Trip             Trip          `json:"trip"`
	CheckPeriod      time.Duration `json:"check_period_ns"`
	OpenDuration     time.Duration `json:"open_duration_ns"`
	RecoveryDuration time.Duration `json:"recovery_duration_ns"`
	Code             int           `json:"code"`
}

// Trip is the condition under which a breaker opens.
type Trip struct {
	// Shares of responses that the condition compares, among other terms.
	Shares []StatusShare `json:"shares,omitempty"`
	Source string        `json:"source"` // as the user wrote it
}

// StatusShare is the ratio of responses with one range of statuses to those with another.
type StatusShare struct {
	Numerator   StatusRange `json:"numerator"`
	Denominator StatusRange `json:"denominator"`
}

// String returns the condition as the user wrote it.
func (t Trip) String() string { return t.Source }

// OpensOnErrors reports whether responses with status 500 can open the breaker.
func (t Trip) OpensOnErrors() bool {
	return slices.ContainsFunc(t.Shares, func(s StatusShare) bool { return s.Numerator.Has(500) })
}

// Rule responds to requests that meet conditions, or rewrites their path.
type Rule struct {
	Pos        Pos         `json:"pos"`
	Conditions []Condition `json:"conditions,omitempty"` // all must hold; none: every request
	Code       int         `json:"code"`
	To         string      `json:"to,omitempty"` // of a redirect
	// Rewrite is the path for the backend; nil if it is unchanged or unknown.
	Rewrite *Rewrite `json:"rewrite,omitempty"`
}

// Rewrite changes the path of requests that match a Go regular expression.
type Rewrite struct {
	Match       string `json:"match"`
	Replacement string `json:"replacement"`            // of the match, in regexp.Expand's notation
	ReplacesAll bool   `json:"replaces_all,omitempty"` // replaces the whole path
}

// BackendPath returns the path that a backend sees of a request to the route.
func (r Route) BackendPath(path string) string {
	for _, rule := range r.Rules {
		if rule.Rewrite != nil {
			path = rule.Rewrite.apply(path)
		}
	}
	return path
}

func (w Rewrite) apply(path string) string {
	fits, err := regexp.Compile(w.Match)
	if err != nil {
		return path
	}
	at := fits.FindStringSubmatchIndex(path)
	switch {
	case at == nil:
		return path
	case w.ReplacesAll:
		path = string(fits.ExpandString(nil, w.Replacement, path, at))
	default:
		path = path[:at[0]] + string(fits.ExpandString(nil, w.Replacement, path, at)) + path[at[1]:]
	}
	return "/" + strings.TrimPrefix(path, "/")
}

// MayRefuse reports whether the rule may keep a request from its backend.
func (r Rule) MayRefuse() bool { return r.Code != 0 || len(r.Conditions) > 0 }

// Reload is how a changed configuration takes effect.
type Reload struct {
	Pos         Pos    `json:"pos"`
	Description string `json:"description"`
}
