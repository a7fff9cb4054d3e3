package model

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The policies of a route or a pool. Implicit marks a default that nobody wrote; Pos is then the line that it comes
// with.

// Number is a limit that is only a number.
type Number struct {
	Pos      Pos   `json:"pos"`
	Implicit bool  `json:"implicit,omitempty"`
	Value    int64 `json:"value"`
}

// TLS is one way in which clients are served encrypted.
type TLS struct {
	Pos          Pos      `json:"pos"`
	Ports        []int    `json:"ports"`
	Hosts        []string `json:"hosts,omitempty"`
	Versions     []string `json:"versions"` // as TLSv1.2, oldest first
	VersionsPos  Pos      `json:"versions_pos"`
	Implicit     bool     `json:"implicit,omitempty"`   // Versions are the balancer's default
	Assumption   string   `json:"assumption,omitempty"` // which version of the balancer has this default, in a sentence
	Ciphers      string   `json:"ciphers,omitempty"`    // OpenSSL's notation; empty is the default
	CiphersPos   Pos      `json:"ciphers_pos,omitzero"`
	Certificate  string   `json:"certificate,omitempty"` // path of the file
	CertPos      Pos      `json:"cert_pos,omitzero"`
	TicketsOff   *Pos     `json:"tickets_off,omitempty"`
	SessionCache *Pos     `json:"session_cache,omitempty"` // a cache for resumption by session id
}

// Split sends shares of the traffic to different pools (nginx: split_clients, Traefik: weighted service).
type Split struct {
	Pos    Pos     `json:"pos"`
	Name   string  `json:"name"`
	Hash   *Hash   `json:"hash,omitempty"` // nil: each request is drawn or takes turns
	Shares []Share `json:"shares"`
	Sticky *Sticky `json:"sticky,omitempty"`
}

// Share is one part of a split or mirror.
type Share struct {
	Pos   Pos     `json:"pos"`
	Pool  string  `json:"pool"`
	Share float64 `json:"share"` // of all requests
}

// Log has a line for every request, once it is answered.
type Log struct {
	Pos    Pos      `json:"pos"`
	File   string   `json:"file,omitempty"`  // empty: requests have no line in any log
	Format Template `json:"format,omitzero"` // of a line
}

// Sticky keeps a client with its server: by a cookie, whose name is Cookie or else made up, or by what only Source
// says.
type Sticky struct {
	Pos           Pos    `json:"pos"`
	Cookie        string `json:"cookie,omitempty"`
	GeneratedName string `json:"generated_name,omitempty"` // what people call the name that the balancer makes up
	// SetsCookie: it gives the cookie to clients that have none; else only servers do.
	SetsCookie bool             `json:"sets_cookie,omitempty"`
	Attributes CookieAttributes `json:"attributes,omitzero"`
	Source     []string         `json:"source,omitempty"` // what else the user wrote
}

// HasCookie reports whether a cookie tells clients apart.
func (s Sticky) HasCookie() bool { return s.Cookie != "" || s.GeneratedName != "" }

// CookieName is the cookie's name for people.
func (s Sticky) CookieName() string { return cmp.Or(s.Cookie, s.GeneratedName) }

// CookieAttributes are those that a configuration writes of a cookie; empty ones are not written.
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
	MaxIdle     int           `json:"max_idle,omitempty"`     // connections kept, per worker; 0 is no such limit
	MaxRequests int           `json:"max_requests,omitempty"` // after so many a connection is closed
	IdleTimeout time.Duration `json:"idle_timeout_ns,omitempty"`
	Disabled    bool          `json:"disabled,omitempty"` // a connection for each request
}

// Resolve says when the names of servers are looked up.
type Resolve struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Interval time.Duration `json:"interval_ns,omitempty"` // 0: once, at start
	// ServerPerAddress: a name that has several addresses is as many servers.
	ServerPerAddress bool `json:"server_per_address,omitempty"`
}

// Redirect sends the client elsewhere.
type Redirect struct {
	Pos  Pos      `json:"pos"`
	Code int      `json:"code"`
	To   Template `json:"to"`
	// NonGetCode is the status for other methods than GET; 0: Code.
	NonGetCode int `json:"non_get_code,omitempty"`
}

// LocalContent is something that the balancer itself provides: status page, files, statistics.
type LocalContent struct {
	Pos         Pos      `json:"pos"`
	Description string   `json:"description"` // in a sentence
	Counter     *Counter `json:"counter,omitempty"`
	// Control reports whether clients can also disable servers on the page, if all ControlConditions hold.
	Control           bool        `json:"control,omitempty"`
	ControlConditions []Condition `json:"control_conditions,omitempty"`
}

// Counter is where the balancer says how many requests clients have sent it: on a page, or in the answer to a command.
type Counter struct {
	Form      CounterForm `json:"form"`
	Selector  string      `json:"selector"`            // an expression whose first group it is, the column, or the metric
	RowFilter [2]string   `json:"row_filter,omitzero"` // of a table: the column, and its value in the rows that are added up
	// MetricPrefix is, of metrics, how those begin that tell a page without the metric from a foreign one.
	MetricPrefix string `json:"metric_prefix,omitempty"`
	Query        string `json:"query,omitempty"`         // behind the path of the page: makes it one of plain text
	CountsItself bool   `json:"counts_itself,omitempty"` // asking for it is a request that counts, once it is answered
	// Exporter is the program that makes metrics for Prometheus of a page of another form; empty: there is none.
	Exporter string `json:"exporter,omitempty"`
}

// CounterForm is the form of text that has a Counter in it.
type CounterForm string

// The forms of counters. The numbers of a table, and of metrics with several labels, are added up.
const (
	CounterText    CounterForm = "text"    // any: Number is a regular expression of Go's
	CounterTable   CounterForm = "table"   // comma-separated values, whose first line has the columns' names behind "# "
	CounterMetrics CounterForm = "metrics" // Prometheus's (prometheus.io/docs/instrumenting/exposition_formats)
)

// Limit refuses requests beyond a rate, or beyond a number at a time.
type Limit struct {
	Pos       Pos            `json:"pos"`
	Algorithm LimitAlgorithm `json:"algorithm"`
	Counts    CountedEvent   `json:"counts,omitempty"` // of CountWindow
	Name      string         `json:"name,omitempty"`   // limits of the same law and name count together
	Key       Key            `json:"key"`
	Rate      float64        `json:"rate,omitempty"` // requests per second
	Burst     int            `json:"burst,omitempty"`
	// Delay: excess requests beyond so many wait their turn; -1: none waits.
	Delay       int           `json:"delay,omitempty"`
	Window      time.Duration `json:"window_ns,omitempty"`     // of CountWindow: Burst requests in it
	MaxInFlight int           `json:"max_in_flight,omitempty"` // of InFlight
	Status      int           `json:"status"`
	// StatusImplicit: nobody wrote the status, and the balancer's default is not the one that says why.
	StatusImplicit bool      `json:"status_implicit,omitempty"`
	DryRun         bool      `json:"dry_run,omitempty"`
	Exempt         Exemption `json:"exempt,omitzero"`
}

// LimitAlgorithm is which requests a limit lets in.
type LimitAlgorithm string

// The laws of limits.
const (
	LeakyBucket LimitAlgorithm = "leaky bucket" // nginx limit_req: Burst+1 at once, then Rate; refused requests cost nothing
	CountWindow LimitAlgorithm = "count window" // HAProxy: Burst in a sliding window; refused requests count too
	TokenBucket LimitAlgorithm = "token bucket" // Traefik: Burst at once, then Rate
	InFlight    LimitAlgorithm = "in flight"    // Most at a time
)

// CountedEvent is what a window counts.
type CountedEvent string

// What can be counted.
const (
	CountsRequests    CountedEvent = "requests"
	CountsConnections CountedEvent = "connections"
	CountsErrors      CountedEvent = "errors" // requests that the client spoiled, answers from 400 to 499
)

// Timeout is how long the balancer waits for something.
type Timeout struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Kind     string        `json:"kind"`        // ConnectTimeout and so on
	Duration time.Duration `json:"duration_ns"` // 0: it waits for ever
	Result   string        `json:"result"`      // what the client sees, in a sentence
	// Statuses are the statuses that the balancer gives when no server has taken a connection in time. Only for
	// ConnectTimeout.
	Statuses []int `json:"statuses,omitempty"`
	// HeaderOnly: it is seen while a request's header is awaited, since another time runs beside it while a body is. Only
	// for ClientTimeout.
	HeaderOnly bool `json:"header_only,omitempty"`
}

// What timeouts wait for.
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

// Compress makes responses smaller for clients that accept it.
type Compress struct {
	Pos      Pos      `json:"pos"`
	MinBytes int      `json:"min_bytes"` // bytes
	Types    []string `json:"types"`
	Vary     bool     `json:"vary"`
}

// Access lets clients in or keeps them out, by address. The first that matches decides.
type Access struct {
	Pos     Pos    `json:"pos"`
	Allow   bool   `json:"allow"`
	Clients string `json:"clients"` // address, network or "all"
}

// Auth asks another service, or a list of users, whether a request may pass.
type Auth struct {
	Pos        Pos      `json:"pos"`
	Kind       AuthKind `json:"kind"`
	Target     string   `json:"target,omitempty"`      // the service's address, or the path of the route to it
	DeniedCode int      `json:"denied_code,omitempty"` // that the refused see; 0: the service's own
	// DenyCodes are the statuses by which the service refuses a request; nil: all but 2xx. Any other that is not 2xx is
	// a failure of the service, for which clients see Failed.
	DenyCodes   []int `json:"deny_codes,omitempty"`
	FailureCode int   `json:"failure_code,omitempty"`
}

// AuthKind is who decides.
type AuthKind string

// The kinds of Auth.
const (
	AuthService AuthKind = "service" // a service beside the pools, at an address
	AuthRoute   AuthKind = "route"   // a service to which an internal route leads
	AuthUsers   AuthKind = "users"   // a list of users with their passwords
)

// String is who decides, in a sentence.
func (a Auth) String() string {
	if a.Kind == AuthUsers {
		return "a list of users"
	}
	return a.Target
}

// HasBackendAuth reports whether the balancer asks a backend, by an internal route, if a request may pass.
func (r Route) HasBackendAuth() bool { return r.Auth != nil && r.Auth.Kind == AuthRoute }

// ErrorPage answers another way where a status comes up.
type ErrorPage struct {
	Pos    Pos    `json:"pos"`
	Codes  []int  `json:"codes"`
	Target string `json:"target"` // a named or internal route, a path or an address
	Code   int    `json:"code"`   // that the client sees; 0: that of the fallback, -1: the first one
	// InterceptsBackend: the statuses of the backend's own answers count too (nginx: proxy_intercept_errors).
	InterceptsBackend bool `json:"intercepts_backend"`
}

// Upgrade lets WebSocket through.
type Upgrade struct {
	Pos           Pos  `json:"pos"`
	Implicit      bool `json:"implicit,omitempty"`
	Unconditional bool `json:"unconditional,omitempty"` // requests that ask for no upgrade reach the backend as if they did
}

// Breaker refuses all requests for a while after too many failed.
type Breaker struct {
	Pos              Pos           `json:"pos"`
	Trip             Trip          `json:"trip"`
	CheckPeriod      time.Duration `json:"check_period_ns"`
	OpenDuration     time.Duration `json:"open_duration_ns"`
	RecoveryDuration time.Duration `json:"recovery_duration_ns"`
	Code             int           `json:"code"`
}

// Trip is the condition on which a breaker opens.
type Trip struct {
	// Shares of answers that the condition looks at, beside whatever else it does.
	Shares []StatusShare `json:"shares,omitempty"`
	Source string        `json:"source"` // as the user wrote it
}

// StatusShare is how many of the answers with a status of Among have one of Of.
type StatusShare struct {
	Numerator   StatusRange `json:"numerator"`
	Denominator StatusRange `json:"denominator"`
}

// String is the condition as the user wrote it.
func (t Trip) String() string { return t.Source }

// OpensOnErrors reports whether answers with status 500 can open the breaker.
func (t Trip) OpensOnErrors() bool {
	return slices.ContainsFunc(t.Shares, func(s StatusShare) bool { return s.Numerator.Has(500) })
}

// Rule answers requests that meet a condition, or changes their path.
type Rule struct {
	Pos        Pos         `json:"pos"`
	Conditions []Condition `json:"conditions,omitempty"` // that must all hold; none: it concerns every request
	Code       int         `json:"code"`
	To         string      `json:"to,omitempty"` // of a redirect
	// Rewrite is how the backend sees the path; nil where it sees it as it is, or where lbproof cannot tell.
	Rewrite *Rewrite `json:"rewrite,omitempty"`
}

// Rewrite changes the path of a request where a regular expression of Go's fits.
type Rewrite struct {
	Match       string `json:"match"`
	Replacement string `json:"replacement"`            // as regexp.Expand has it; what fits is replaced
	ReplacesAll bool   `json:"replaces_all,omitempty"` // the whole path is
}

// BackendPath is the path that a backend sees of a request to the route.
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

// MayRefuse says whether the rule may keep a request from its backend.
func (r Rule) MayRefuse() bool { return r.Code != 0 || len(r.Conditions) > 0 }

// Reload is how a changed file takes effect.
type Reload struct {
	Pos         Pos    `json:"pos"`
	Description string `json:"description"`
}
