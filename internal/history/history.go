package history

import (
	"hash/crc32"
	"iter"
	"net/url"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// IDHeader carries the ID that joins a client's request to its arrivals at backends.
const IDHeader = "X-Lbproof-Id"

// IDPlaceholder is replaced by the request's ID in the body of a request of the engine prober. It has the length of the
// longest ID.
const IDPlaceholder = "0000000000000000000"

// Response headers of backends: their name, and the size of the body in bytes.
const (
	ServerHeader = "X-Lbproof-Server"
	SizeHeader   = "X-Lbproof-Size"
)

// ResponseSpecHeader tells a backend how to respond, see backends.ResponseSpec. Backends record PathField and PeerField
// of such requests.
const ResponseSpecHeader = "X-Lbproof-Respond"

// BodyField is the pseudo field of Hit.Header with the response body, if the request keeps it.
const BodyField = ":body"

// ResponseCountField is the pseudo field of Hit.Header with the number of responses, if the request counts them.
const ResponseCountField = ":answers"

// Pseudo fields of Arrival.Header.
const (
	PathField        = ":path"  // of a request with a response spec: path and query
	PeerField        = ":conn"  // of a request with a response spec: address:port of the balancer
	HealthCheckField = ":check" // of a health check: its path; nothing else is recorded
)

// Hit is one request as seen by the client. Times are since the run's origin.
type Hit struct {
	Seq      uint64        // from 1, in sending order
	Phase    int           // index in Plan.Phases
	Index    int           // index in its phase
	Due      time.Duration // when it should have been sent; in a closed loop, when it was sent
	Sent     time.Duration
	Done     time.Duration
	Code     int    // 0 without a response
	Server   string // backend that responded; empty if unknown
	Size     int64  // of the body, in bytes
	Checksum uint32 // CRC-32C of the body
	Client   int    // index of the client, see plan.Phase.ClientIndex
	Conn     int    // number of the connection in its phase, from 1; 0 if none
	InFlight int    // requests of the phase in flight when it was sent, including itself
	// Time to open the connection; 0 if it was reused.
	ConnectTime   time.Duration
	HandshakeTime time.Duration // TLS
	Resumed       bool          // the handshake resumed an earlier session
	Err           Err
	// Recorded by the engine prober only.
	Header        string        // response header, url.Values encoded
	HandshakeInfo string        // result of the TLS handshake, url.Values encoded; see the Handshake constants
	Silence       time.Duration // time that the client stalled until a response or the end of the connection
}

// Keys of Hit.HandshakeInfo.
const (
	HandshakeVersion = "version"
	HandshakeSuite   = "suite"   // OpenSSL's name
	HandshakeALPN    = "alpn"    // negotiated protocol; empty if none
	HandshakeAlert   = "alert"   // number of the alert that refused the handshake
	HandshakeTrust   = "trust"   // why the certificate is not valid for the requested name; empty if it is
	HandshakeTicket  = "ticket"  // "yes" if the server issued a session
	HandshakeResumed = "resumed" // "yes" if a second handshake resumed the session of the first
)

// Failed reports whether a hit got an error status or no complete response.
func (h Hit) Failed() bool { return h.Err != "" || h.Code >= 400 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the checksum that a Hit records of a body.
func Checksum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Err is why a hit got no complete response; empty if it did.
type Err string

// The kinds of Err. Tester is a failure of the load generator and never counts against the balancer.
const (
	Refused         Err = "refused"
	Reset           Err = "reset"
	Closed          Err = "closed"    // connection closed before any response
	Truncated       Err = "truncated" // connection closed within the response
	Malformed       Err = "malformed" // not an HTTP response, or data after its end
	Timeout         Err = "timeout"
	DNS             Err = "dns"
	HandshakeFailed Err = "tls"
	Tester          Err = "tester"
	Other           Err = "other"
)

// IsValid reports whether e is one of the kinds above or empty.
func (e Err) IsValid() bool {
	switch e {
	case "", Refused, Reset, Closed, Truncated, Malformed, Timeout, DNS, HandshakeFailed, Tester, Other:
		return true
	}
	return false
}

// Arrival is one request as seen by a backend. Arrivals show retries, duplicates and losses.
type Arrival struct {
	Seq    uint64 // of the hit; 0 if the request had no ID
	At     time.Duration
	Server string
	Header string // recorded header fields, url.Values encoded
}

// HealthCheck is a health check of the balancer that reached a backend.
type HealthCheck struct {
	At     time.Duration
	Server string
	Path   string
}

// HealthCheck returns the health check that the arrival records, if it is one.
func (a Arrival) HealthCheck() (c HealthCheck, ok bool) {
	if a.Seq != 0 {
		return c, false
	}
	noted, err := url.ParseQuery(a.Header)
	if err != nil || !noted.Has(HealthCheckField) {
		return c, false
	}
	return HealthCheck{a.At, a.Server, noted.Get(HealthCheckField)}, true
}

// History is what happened in a run. Sequences are read from storage by every loop, so memory use stays constant.
type History struct {
	Plan         plan.Plan
	Env          Environment
	Hits         iter.Seq[Hit]
	Arrivals     iter.Seq[Arrival] // except health checks
	HealthChecks iter.Seq[HealthCheck]
	Samples      iter.Seq[Sample]
	Attempts     iter.Seq[Attempt] // only in runs with faults
	Err          func() error      // why a loop ended early; nil if none did
}

// Environment describes where a run took place and how the stack behaved.
type Environment struct {
	Started         time.Time              `json:"started"`
	Origin          time.Time              `json:"origin"` // of all times of the run
	Lbproof         string                 `json:"lbproof"`
	Host            string                 `json:"host"` // operating system and kernel
	Runtime         string                 `json:"runtime"`
	CPUs            int                    `json:"cpus"`
	Balancer        string                 `json:"balancer"` // output of its version command
	Workers         int                    `json:"workers"`  // running worker processes
	ConfigSHA       string                 `json:"config_sha256"`
	LogEntries      []LogEntry             `json:"log_entries,omitempty"`      // problems logged during traffic
	StartupMessages []model.StartupMessage `json:"startup_messages,omitempty"` // warnings and errors printed at startup
	AccessLog       []AccessLogLine        `json:"access_log,omitempty"`       // only lines with LogMark
	ClientAddr      string                 `json:"client_address"`             // address of the load generator
	ClientNetwork   string                 `json:"client_network,omitempty"`   // of clients with their own addresses
	Nodes           []NodeRecord           `json:"nodes"`
	Phases          []Phase                `json:"phases"`
	Faults          []FaultWindow          `json:"faults,omitempty"`
	RuleResults     []RuleResult           `json:"rule_results,omitempty"` // of Plan.Queries, in order
	LedgerGaps      []string               `json:"ledger_gaps,omitempty"`  // incomplete ledgers, and why
	Interrupted     string                 `json:"interrupted,omitempty"`  // why the run ended early
}

// LogEntry is a problem in the balancer's log, and how many lines differ from it only in numbers.
type LogEntry struct {
	Text  string `json:"text"` // of the first line
	Count int    `json:"count"`
}

// LogMark starts a query parameter; access-log lines that contain it are recorded.
const LogMark = "lbproof-log="

// AccessLogLine is a line of an access log.
type AccessLogLine struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// FaultWindow is when a fault was in force, since the run's origin, or why it was not. It began between StartsAfter and
// StartsBy, and ended between EndsAfter and EndsBy.
type FaultWindow struct {
	Event       plan.Event    `json:"event"`
	RequestedAt time.Duration `json:"requested_ns"`
	StartsAfter time.Duration `json:"starts_after_ns"` // start of the last poll without the effect, or RequestedAt
	StartsBy    time.Duration `json:"starts_by_ns"`    // start of the first poll with the effect
	EndsAfter   time.Duration `json:"ends_after_ns"`   // when healing was requested
	EndsBy      time.Duration `json:"ends_by_ns"`      // start of the first poll without the effect
	Observed    string        `json:"observed,omitempty"`
	Err         string        `json:"error,omitempty"`
}

// RuleResult is the result of a Prometheus rule.
type RuleResult struct {
	Err     string          `json:"error,omitempty"`   // why Prometheus could not evaluate it
	Series  int             `json:"series"`            // number of series found by its selectors
	Missing []MissingSeries `json:"missing,omitempty"` // selectors without a series
	Firing  []Span          `json:"firing,omitempty"`  // when the alert was firing
}

// MissingSeries is a selector that matches no series.
type MissingSeries struct {
	Selector string `json:"selector"`
	Similar  string `json:"similar,omitempty"` // a series with the same metric name, if any
}

// Span is a period since the run's origin.
type Span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Attempt is a connection attempt to a backend, whatever its outcome.
type Attempt struct {
	At         time.Duration
	Node       string
	SourceAddr string
	SourcePort int
	Port       int // of the backend
}

// NodeRecord describes one container of the run.
type NodeRecord struct {
	Name      string    `json:"name"`
	Role      plan.Role `json:"role"`
	Image     string    `json:"image"`
	ImageID   string    `json:"image_id,omitempty"` // digest
	Source    string    `json:"source"`             // local, pulled or built, and from what
	Address   string    `json:"address"`
	CPUs      float64   `json:"cpus,omitempty"`
	Memory    int64     `json:"memory,omitempty"`
	Restarts  int       `json:"restarts"`
	OOMKilled bool      `json:"oom_killed"`
	Exit      string    `json:"exit,omitempty"` // how it ended, if lbproof did not stop it
}

// Sample is the resource use of a container, about once a second. Counters start with the container.
type Sample struct {
	At        time.Duration
	Node      string
	CPU       time.Duration // of all its processes
	Throttled time.Duration // time that its CPU limit delayed it
	Memory    int64         // bytes, without the page cache
	Received  int64         // bytes, all networks
	Sent      int64
	Restarts  int
}

// Phase is a phase as measured by the load generator.
type Phase struct {
	Start time.Duration `json:"start_ns"`
	End   time.Duration `json:"end_ns"`
	CPU   time.Duration `json:"cpu_ns"` // of the load generator, all threads
	Hits  int           `json:"hits"`
	// LastSent is when the last hit was sent. From then to End it only waited for responses.
	LastSent time.Duration `json:"last_sent_ns"`
	// AtMaxInFlight is the number of hits sent with the maximum number in flight; later ones had to wait for the stack.
	AtMaxInFlight int  `json:"at_max_in_flight,omitempty"`
	Broken        bool `json:"broken,omitempty"`        // ended early at the thresholds in plan.Phase.Breaks
	DecidedEarly  bool `json:"decided_early,omitempty"` // ended early because its StopRules were conclusive
}
