package history

import (
	"hash/crc32"
	"iter"
	"net/url"
	"time"

	"github.com/lbproof/lbproof/internal/model"
	"github.com/lbproof/lbproof/internal/plan"
)

// IDHeader joins a client's request to what a backend saw of it.
const IDHeader = "X-Lbproof-Id"

// IDPlaceholder stands in the body of a request of the engine prober for the request's own id, and is as long as any.
const IDPlaceholder = "0000000000000000000"

// ServerHeader names the backend in its answers, SizeHeader says how many bytes their bodies have.
const (
	ServerHeader = "X-Lbproof-Server"
	SizeHeader   = "X-Lbproof-Size"
)

// ResponseSpecHeader asks backends for a certain answer, see backends.Wish; of such requests their ledgers keep the Noted fields too.
const ResponseSpecHeader = "X-Lbproof-Respond"

// BodyField is where Hit.Header holds the body of an answer that was to be kept.
const BodyField = ":body"

// ResponseCountField is where Hit.Header holds how many answers came, of a request after which more were waited for.
const ResponseCountField = ":answers"

// What Arrival.Header holds beside header fields.
const (
	PathField        = ":path"  // of a request with a wish, with its query
	PeerField        = ":conn"  // of a request with a wish: address and port of the balancer's end of the connection
	NotedHealthCheck = ":check" // the path of a health check, and nothing else
)

// Hit is what the client saw of one request. Times are since the run's origin.
type Hit struct {
	Seq      uint64        // from 1, in the order of sending
	Phase    int           // index of the phase in Plan.Loads
	Index    int           // number of the hit in its phase, from 0
	Due      time.Duration // when it should have been sent; in a closed loop, when it was
	Sent     time.Duration
	Done     time.Duration
	Code     int    // 0 where no answer came
	Server   string // who answered; empty where no backend named itself
	Size     int64  // of the body, bytes
	Checksum uint32 // CRC-32C of the body
	Client   int    // who sent it, see Load.Client
	Conn     int    // number of the connection in its phase, from 1; 0 where there was none
	InFlight int    // the phase's requests in flight when it was sent, itself included
	// What the first hit of a connection waited for before it could be sent; later ones have 0.
	ConnectTime   time.Duration
	HandshakeTime time.Duration // of TLS
	Resumed       bool          // the handshake took up an earlier session
	Err           Err
	// What the engine prober keeps beside.
	Header        string        // fields of the answer, in url.Values encoding
	HandshakeInfo string        // how the TLS handshake went, in url.Values encoding; see the Shaken names
	Silence       time.Duration // how long the client was silent until it heard something or the connection ended
}

// What Hit.Shake tells.
const (
	HandshakeVersion = "version"
	HandshakeSuite   = "suite"   // by OpenSSL's name
	HandshakeALPN    = "alpn"    // what was agreed on; empty where nothing was
	HandshakeAlert   = "alert"   // number of the alert by which it was refused
	HandshakeTrust   = "trust"   // why the certificate is not to be trusted for the name asked for; empty where it is
	HandshakeTicket  = "ticket"  // "yes" where the server gave out something to resume with
	HandshakeResumed = "resumed" // "yes" where a second handshake took up the session of the first
)

// Failed says whether a hit got no whole answer, or one that is an error.
func (h Hit) Failed() bool { return h.Err != "" || h.Code >= 400 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the checksum that a Hit keeps of a body.
func Checksum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Err is why a hit got no whole answer; empty where it did.
type Err string

// The kinds of Err. Tester is a fault of the sender's own and never held against the balancer.
const (
	Refused         Err = "refused"
	Reset           Err = "reset"
	Closed          Err = "closed"    // without an answer
	Truncated       Err = "truncated" // before the answer's end
	Malformed       Err = "malformed" // what came is no HTTP answer, or goes on after its end
	Timeout         Err = "timeout"
	DNS             Err = "dns"
	HandshakeFailed Err = "tls" // the handshake failed
	Tester          Err = "tester"
	Other           Err = "other"
)

// IsValid says whether it is one of those, or none.
func (e Err) IsValid() bool {
	switch e {
	case "", Refused, Reset, Closed, Truncated, Malformed, Timeout, DNS, HandshakeFailed, Tester, Other:
		return true
	}
	return false
}

// Arrival is what a backend saw of one request: the witness that counts retries, duplicates and losses.
type Arrival struct {
	Seq    uint64 // of the hit; 0 where the request carried no id
	At     time.Duration
	Server string
	Header string // the observed header fields, in url.Values encoding
}

// HealthCheck is a health check by the balancer that reached a backend.
type HealthCheck struct {
	At     time.Duration
	Server string
	Path   string
}

// HealthCheck is what an arrival is where it is a health check.
func (a Arrival) HealthCheck() (c HealthCheck, ok bool) {
	if a.Seq != 0 {
		return c, false
	}
	noted, err := url.ParseQuery(a.Header)
	if err != nil || !noted.Has(NotedHealthCheck) {
		return c, false
	}
	return HealthCheck{a.At, a.Server, noted.Get(NotedHealthCheck)}, true
}

// History is what happened in a run. What is a sequence is read anew from storage by each loop, so memory stays flat.
type History struct {
	Plan         plan.Plan
	Env          Environment
	Hits         iter.Seq[Hit]
	Arrivals     iter.Seq[Arrival] // but health checks
	HealthChecks iter.Seq[HealthCheck]
	Samples      iter.Seq[Sample]
	Attempts     iter.Seq[Attempt] // in runs with faults
	Err          func() error      // why a loop ended early, the first that did; nil where none did
}

// Environment is where a run took place and how the stack fared.
type Environment struct {
	Started         time.Time              `json:"started"`
	Origin          time.Time              `json:"origin"` // of the run's clock
	Lbproof         string                 `json:"lbproof"`
	Host            string                 `json:"host"` // operating system and kernel
	Runtime         string                 `json:"runtime"`
	CPUs            int                    `json:"cpus"`
	Balancer        string                 `json:"balancer"` // as its own version command prints it
	Workers         int                    `json:"workers"`  // worker processes seen running
	ConfigSHA       string                 `json:"config_sha256"`
	LogEntries      []LogEntry             `json:"log_entries,omitempty"`      // what it complained of under the traffic
	StartupMessages []model.StartupMessage `json:"startup_messages,omitempty"` // warnings and errors that the balancer printed at its start
	AccessLog       []AccessLogLine        `json:"access_log,omitempty"`       // of the balancer's logs of requests, those with LogMark in them
	ClientAddr      string                 `json:"client_address"`             // address the traffic came from
	ClientNetwork   string                 `json:"client_network,omitempty"`   // network of clients with own addresses, see ClientAddress
	Nodes           []NodeRecord           `json:"nodes"`
	Phases          []Phase                `json:"phases"`
	Faults          []FaultWindow          `json:"faults,omitempty"`
	RuleResults     []RuleResult           `json:"rule_results,omitempty"` // of Plan.Queries, in their order
	LedgerGaps      []string               `json:"ledger_gaps,omitempty"`  // ledgers with rows missing, and why
	Interrupted     string                 `json:"interrupted,omitempty"`  // why the run ended early
}

// LogEntry is a line of the balancer's log that tells of trouble, and how often it came with other numbers in it.
type LogEntry struct {
	Text  string `json:"text"` // the first of them
	Count int    `json:"count"`
}

// LogMark begins a parameter in the query of requests whose lines in the balancer's logs are kept.
const LogMark = "lbproof-log="

// AccessLogLine is one of a log of requests.
type AccessLogLine struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// FaultWindow is an event that was really in force, from when to when since the run's origin, or why it was not. It began between
// Before and From, and ended between Ended and To.
type FaultWindow struct {
	Event       plan.Event    `json:"event"`
	RequestedAt time.Duration `json:"requested_ns"`
	StartsAfter time.Duration `json:"starts_after_ns"` // when the last look began that did not see it, or Ordered
	StartsBy    time.Duration `json:"starts_by_ns"`    // when the first look began that saw it
	EndsAfter   time.Duration `json:"ends_after_ns"`   // when it was ordered to go
	EndsBy      time.Duration `json:"ends_by_ns"`      // when the first look began that did not see it any more
	Observed    string        `json:"observed,omitempty"`
	Err         string        `json:"error,omitempty"`
}

// RuleResult is what became of a rule of Prometheus.
type RuleResult struct {
	Err     string          `json:"error,omitempty"`   // why Prometheus could not evaluate it
	Series  int             `json:"series"`            // that its selectors found in all
	Missing []MissingSeries `json:"missing,omitempty"` // selectors that found none
	Firing  []Span          `json:"firing,omitempty"`  // when the alert fired
}

// MissingSeries is a selector that no series fits.
type MissingSeries struct {
	Selector string `json:"selector"`
	Similar  string `json:"similar,omitempty"` // a series with the same name; empty where there is none
}

// Span is a time since the run's origin.
type Span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Attempt is a connection that somebody tried to open to a backend, whatever became of it.
type Attempt struct {
	At         time.Duration
	Node       string
	SourceAddr string // address
	SourcePort int    // port
	Port       int    // of the backend
}

// NodeRecord is how one container fared.
type NodeRecord struct {
	Name      string    `json:"name"`
	Role      plan.Role `json:"role"`
	Image     string    `json:"image"`
	ImageID   string    `json:"image_id,omitempty"` // its digest, which names it for good
	Source    string    `json:"source"`             // local, pulled or built, and from what
	Address   string    `json:"address"`
	CPUs      float64   `json:"cpus,omitempty"`
	Memory    int64     `json:"memory,omitempty"`
	Restarts  int       `json:"restarts"`
	OOMKilled bool      `json:"oom_killed"`
	Exit      string    `json:"exit,omitempty"` // how it ended, if it did before the harness stopped it
}

// Sample is what a container has used, as the engine counts it, about once a second. Counters grow from its start on.
type Sample struct {
	At        time.Duration
	Node      string
	CPU       time.Duration // of all its processes
	Throttled time.Duration // that its CPU limit has kept it waiting
	Memory    int64         // bytes now, without the page cache
	Received  int64         // bytes, all networks
	Sent      int64
	Restarts  int
}

// Phase is the sender's account of one phase.
type Phase struct {
	Start time.Duration `json:"start_ns"`
	End   time.Duration `json:"end_ns"`
	CPU   time.Duration `json:"cpu_ns"` // of the sender, all threads
	Hits  int           `json:"hits"`
	// LastSent is when the last hit was sent; from then to End only answers were waited for.
	LastSent time.Duration `json:"last_sent_ns"`
	// AtMaxInFlight is how many hits were sent when as many were in flight as may be: those after them had to wait for the stack.
	AtMaxInFlight int  `json:"at_max_in_flight,omitempty"`
	Broken        bool `json:"broken,omitempty"`        // it ended early, as its Load's Breaks say
	DecidedEarly  bool `json:"decided_early,omitempty"` // it ended early, because its Load's Draws were decided
}
