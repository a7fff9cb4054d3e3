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
	Pos         Pos      `json:"pos"`
	Ports       []int    `json:"ports"`
	Hosts       []string `json:"hosts,omitempty"`
	Versions    []string `json:"versions"` // as TLSv1.2, oldest first
	VersionsPos Pos      `json:"versions_pos"`
	Implicit    bool     `json:"implicit,omitempty"` // Versions are the balancer's default
	Assumes     string   `json:"assumes,omitempty"`  // which version of the balancer has this default, in a sentence
	Ciphers     string   `json:"ciphers,omitempty"`  // OpenSSL's notation; empty is the default
	CiphersPos  Pos      `json:"ciphers_pos,omitzero"`
	Certificate string   `json:"certificate,omitempty"` // path of the file
	CertPos     Pos      `json:"cert_pos,omitzero"`
	NoTickets   *Pos     `json:"no_tickets,omitempty"`
	Sessions    *Pos     `json:"sessions,omitempty"` // a cache for resumption by session id
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
	Pos    Pos    `json:"pos"`
	Cookie string `json:"cookie,omitempty"`
	MadeUp string `json:"made_up,omitempty"` // what people call the name that the balancer makes up
	// Sets: it gives the cookie to clients that have none; else only servers do.
	Sets       bool             `json:"sets,omitempty"`
	Attributes CookieAttributes `json:"attributes,omitzero"`
	Source     []string         `json:"source,omitempty"` // what else the user wrote
}

// HasCookie reports whether a cookie tells clients apart.
func (s Sticky) HasCookie() bool { return s.Cookie != "" || s.MadeUp != "" }

// CookieName is the cookie's name for people.
func (s Sticky) CookieName() string { return cmp.Or(s.Cookie, s.MadeUp) }

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
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Idle     int           `json:"idle,omitempty"`     // connections kept, per worker; 0 is no such limit
	Requests int           `json:"requests,omitempty"` // after so many a connection is closed
	Within   time.Duration `json:"within_ns,omitempty"`
	Never    bool          `json:"never,omitempty"` // a connection for each request
}

// Resolve says when the names of servers are looked up.
type Resolve struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	Every    time.Duration `json:"every_ns,omitempty"` // 0: once, at start
	// EachAddress: a name that has several addresses is as many servers.
	EachAddress bool `json:"each_address,omitempty"`
}

// Redirect sends the client elsewhere.
type Redirect struct {
	Pos  Pos      `json:"pos"`
	Code int      `json:"code"`
	To   Template `json:"to"`
	// CodeUnsafe is the status for other methods than GET; 0: Code.
	CodeUnsafe int `json:"code_unsafe,omitempty"`
}

// Own is something that the balancer itself provides: status page, files, statistics.
type Own struct {
	Pos     Pos      `json:"pos"`
	What    string   `json:"what"` // in a sentence
	Counter *Counter `json:"counter,omitempty"`
}

// Counter is where the balancer says how many requests clients have sent it: on a page, or in the answer to a command.
type Counter struct {
	Form   CounterForm `json:"form"`
	Number string      `json:"number"`        // an expression whose first group it is, the column, or the metric
	Rows   [2]string   `json:"rows,omitzero"` // of a table: the column, and its value in the rows that are added up
	// Family is, of metrics, how those begin that tell a page without the metric from a foreign one.
	Family string `json:"family,omitempty"`
	Query  string `json:"query,omitempty"`  // behind the path of the page: makes it one of plain text
	Itself bool   `json:"itself,omitempty"` // asking for it is a request that counts, once it is answered
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
	Pos    Pos      `json:"pos"`
	Law    LimitLaw `json:"law"`
	Counts Counted  `json:"counts,omitempty"` // of CountWindow
	Name   string   `json:"name,omitempty"`   // limits of the same law and name count together
	Key    Key      `json:"key"`
	Rate   float64  `json:"rate,omitempty"` // requests per second
	Burst  int      `json:"burst,omitempty"`
	// Delay: excess requests beyond so many wait their turn; -1: none waits.
	Delay  int           `json:"delay,omitempty"`
	Window time.Duration `json:"window_ns,omitempty"` // of CountWindow: Burst requests in it
	Most   int           `json:"most,omitempty"`      // of InFlight
	Status int           `json:"status"`
	// StatusImplicit: nobody wrote the status, and the balancer's default is not the one that says why.
	StatusImplicit bool      `json:"status_implicit,omitempty"`
	DryRun         bool      `json:"dry_run,omitempty"`
	Free           Exemption `json:"free,omitzero"`
}

// LimitLaw is which requests a limit lets in.
type LimitLaw string

// The laws of limits.
const (
	LeakyBucket LimitLaw = "leaky bucket" // nginx limit_req: Burst+1 at once, then Rate; refused requests cost nothing
	CountWindow LimitLaw = "count window" // HAProxy: Burst in a sliding window; refused requests count too
	TokenBucket LimitLaw = "token bucket" // Traefik: Burst at once, then Rate
	InFlight    LimitLaw = "in flight"    // Most at a time
)

// Counted is what a window counts.
type Counted string

// What can be counted.
const (
	CountsRequests    Counted = "requests"
	CountsConnections Counted = "connections"
	CountsErrors      Counted = "errors" // requests that the client spoiled, answers from 400 to 499
)

// TimeLimit is how long the balancer waits for something.
type TimeLimit struct {
	Pos      Pos           `json:"pos"`
	Implicit bool          `json:"implicit,omitempty"`
	For      string        `json:"for"`      // ConnectTimeout and so on
	After    time.Duration `json:"after_ns"` // 0: it waits for ever
	Then     string        `json:"then"`     // what the client sees, in a sentence
	// Answers are the statuses that the balancer gives when no server has taken a connection in time. Only for
	// ConnectTimeout.
	Answers []int `json:"answers,omitempty"`
	// Headers: it is seen while a request's header is awaited, since another time runs beside it while a body is. Only
	// for ClientTimeout.
	Headers bool `json:"headers,omitempty"`
}

// What timeouts wait for.
const (
	ConnectTimeout = "connect to a server"
	SendTimeout    = "send to a server"
	ReadTimeout    = "hear from a server"
	ClientTimeout  = "hear from the client"
	HeaderTimeout  = "read the request's header"
	IdleTimeout    = "keep an idle client connection"
	TunnelTimeout  = "keep an idle tunnel"
	QueueTimeout   = "find a free server"
)

// Compress makes responses smaller for clients that accept it.
type Compress struct {
	Pos   Pos      `json:"pos"`
	Least int      `json:"least"` // bytes
	Types []string `json:"types"`
	Vary  bool     `json:"vary"`
}

// Access lets clients in or keeps them out, by address. The first that matches decides.
type Access struct {
	Pos   Pos    `json:"pos"`
	Allow bool   `json:"allow"`
	From  string `json:"from"` // address, network or "all"
}

// Auth asks another service, or a list of users, whether a request may pass.
type Auth struct {
	Pos  Pos      `json:"pos"`
	Kind AuthKind `json:"kind"`
	By   string   `json:"by,omitempty"`   // the service's address, or the path of the route to it
	Code int      `json:"code,omitempty"` // that the refused see; 0: the service's own
	// Refusals are the statuses by which the service refuses a request; nil: all but 2xx. Any other that is not 2xx is
	// a failure of the service, for which clients see Failed.
	Refusals []int `json:"refusals,omitempty"`
	Failed   int   `json:"failed,omitempty"`
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
	return a.By
}

// AsksBackend reports whether the balancer asks a backend, by an internal route, if a request may pass.
func (r Route) AsksBackend() bool { return r.Auth != nil && r.Auth.Kind == AuthRoute }

// Fallback answers another way where a status comes up.
type Fallback struct {
	Pos   Pos    `json:"pos"`
	Codes []int  `json:"codes"`
	To    string `json:"to"`   // a named or internal route, a path or an address
	Code  int    `json:"code"` // that the client sees; 0: that of the fallback, -1: the first one
	// Backend: the statuses of the backend's own answers count too (nginx: proxy_intercept_errors).
	Backend bool `json:"backend"`
}

// Upgrade lets WebSocket through.
type Upgrade struct {
	Pos      Pos  `json:"pos"`
	Implicit bool `json:"implicit,omitempty"`
	Always   bool `json:"always,omitempty"` // requests that ask for no upgrade reach the backend as if they did
}

// Breaker refuses all requests for a while after too many failed.
type Breaker struct {
	Pos      Pos           `json:"pos"`
	Trips    Trip          `json:"trips"`
	Every    time.Duration `json:"every_ns"`
	Open     time.Duration `json:"open_ns"`
	Recovery time.Duration `json:"recovery_ns"`
	Code     int           `json:"code"`
}

// Trip is the condition on which a breaker opens.
type Trip struct {
	// Shares of answers that the condition looks at, beside whatever else it does.
	Shares []StatusShare `json:"shares,omitempty"`
	Source string        `json:"source"` // as the user wrote it
}

// StatusShare is how many of the answers with a status of Among have one of Of.
type StatusShare struct {
	Of    StatusRange `json:"of"`
	Among StatusRange `json:"among"`
}

// String is the condition as the user wrote it.
func (t Trip) String() string { return t.Source }

// ByErrors reports whether answers with status 500 can open the breaker.
func (t Trip) ByErrors() bool {
	return slices.ContainsFunc(t.Shares, func(s StatusShare) bool { return s.Of.Has(500) })
}

// Rule answers requests that meet a condition, or changes their path.
type Rule struct {
	Pos  Pos         `json:"pos"`
	When []Condition `json:"when,omitempty"` // that must all hold; none: it concerns every request
	Code int         `json:"code"`
	To   string      `json:"to,omitempty"` // of a redirect
	// Rewrite is how the backend sees the path; nil where it sees it as it is, or where lbproof cannot tell.
	Rewrite *Rewrite `json:"rewrite,omitempty"`
}

// Rewrite changes the path of a request where a regular expression of Go's fits.
type Rewrite struct {
	Match string `json:"match"`
	With  string `json:"with"`            // as regexp.Expand has it; what fits is replaced
	Whole bool   `json:"whole,omitempty"` // the whole path is
}

// Seen is the path that a backend sees of a request to the route.
func (r Route) Seen(path string) string {
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
	case w.Whole:
		path = string(fits.ExpandString(nil, w.With, path, at))
	default:
		path = path[:at[0]] + string(fits.ExpandString(nil, w.With, path, at)) + path[at[1]:]
	}
	return "/" + strings.TrimPrefix(path, "/")
}

// Refuses says whether the rule may keep a request from its backend.
func (r Rule) Refuses() bool { return r.Code != 0 || len(r.When) > 0 }

// Reload is how a changed file takes effect.
type Reload struct {
	Pos Pos    `json:"pos"`
	How string `json:"how"`
}
