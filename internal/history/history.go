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

// SameID stands in the body of a request of the engine prober for the request's own id, and is as long as any.
const SameID = "0000000000000000000"

// ServerHeader names the backend in its answers, SizeHeader says how many bytes their bodies have.
const (
	ServerHeader = "X-Lbproof-Server"
	SizeHeader   = "X-Lbproof-Size"
)

// WishHeader asks backends for a certain answer, see backends.Wish; of such requests their ledgers keep the Noted fields too.
const WishHeader = "X-Lbproof-Wish"

// KeptBody is where Hit.Header holds the body of an answer that was to be kept.
const KeptBody = ":body"

// KeptAnswers is where Hit.Header holds how many answers came, of a request after which more were waited for.
const KeptAnswers = ":answers"

// What Arrival.Header holds beside header fields.
const (
	NotedPath  = ":path"  // of a request with a wish, with its query
	NotedConn  = ":conn"  // of a request with a wish: address and port of the balancer's end of the connection
	NotedCheck = ":check" // the path of a health check, and nothing else
)

// Hit is what the client saw of one request. Times are since the run's origin.
type Hit struct {
	Seq    uint64        // from 1, in the order of sending
	Load   int           // index of the phase in Plan.Loads
	Index  int           // number of the hit in its phase, from 0
	Due    time.Duration // when it should have been sent; in a closed loop, when it was
	Sent   time.Duration
	Done   time.Duration
	Code   int    // 0 where no answer came
	Server string // who answered; empty where no backend named itself
	Size   int64  // of the body, bytes
	Sum    uint32 // CRC-32C of the body
	Client int    // who sent it, see Load.Client
	Conn   int    // number of the connection in its phase, from 1; 0 where there was none
	Flight int    // the phase's requests in flight when it was sent, itself included
	// What the first hit of a connection waited for before it could be sent; later ones have 0.
	Connect   time.Duration
	Handshake time.Duration // of TLS
	Resumed   bool          // the handshake took up an earlier session
	Err       Err
	// What the engine prober keeps beside.
	Header string        // fields of the answer, in url.Values encoding
	Shake  string        // how the TLS handshake went, in url.Values encoding; see the Shaken names
	Quiet  time.Duration // how long the client was silent until it heard something or the connection ended
}

// What Hit.Shake tells.
const (
	ShakenVersion = "version"
	ShakenSuite   = "suite"   // by OpenSSL's name
	ShakenALPN    = "alpn"    // what was agreed on; empty where nothing was
	ShakenAlert   = "alert"   // number of the alert by which it was refused
	ShakenTrust   = "trust"   // why the certificate is not to be trusted for the name asked for; empty where it is
	ShakenTicket  = "ticket"  // "yes" where the server gave out something to resume with
	ShakenResumed = "resumed" // "yes" where a second handshake took up the session of the first
)

// Failed says whether a hit got no whole answer, or one that is an error.
func (h Hit) Failed() bool { return h.Err != "" || h.Code >= 400 }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum that a Hit keeps of a body.
func Sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Err is why a hit got no whole answer; empty where it did.
type Err string

// The kinds of Err. Tester is a fault of the sender's own and never held against the balancer.
const (
	Refused   Err = "refused"
	Reset     Err = "reset"
	Closed    Err = "closed"    // without an answer
	Truncated Err = "truncated" // before the answer's end
	Garbage   Err = "garbage"   // what came is no HTTP answer, or goes on after its end
	Timeout   Err = "timeout"
	DNS       Err = "dns"
	Handshake Err = "tls" // the handshake failed
	Tester    Err = "tester"
	Other     Err = "other"
)

// Known says whether it is one of those, or none.
func (e Err) Known() bool {
	switch e {
	case "", Refused, Reset, Closed, Truncated, Garbage, Timeout, DNS, Handshake, Tester, Other:
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

// Check is a health check by the balancer that reached a backend.
type Check struct {
	At     time.Duration
	Server string
	Path   string
}

// Check is what an arrival is where it is a health check.
func (a Arrival) Check() (c Check, ok bool) {
	if a.Seq != 0 {
		return c, false
	}
	noted, err := url.ParseQuery(a.Header)
	if err != nil || !noted.Has(NotedCheck) {
		return c, false
	}
	return Check{a.At, a.Server, noted.Get(NotedCheck)}, true
}

// History is what happened in a run. What is a sequence is read anew from storage by each loop, so memory stays flat.
type History struct {
	Plan     plan.Plan
	Env      Environment
	Hits     iter.Seq[Hit]
	Arrivals iter.Seq[Arrival] // but health checks
	Checks   iter.Seq[Check]
	Samples  iter.Seq[Sample]
	Attempts iter.Seq[Attempt] // in runs with faults
	Err      func() error      // why a loop ended early, the first that did; nil where none did
}

// Environment is where a run took place and how the stack fared.
type Environment struct {
	Started     time.Time    `json:"started"`
	Origin      time.Time    `json:"origin"` // of the run's clock
	Lbproof     string       `json:"lbproof"`
	Host        string       `json:"host"` // operating system and kernel
	Runtime     string       `json:"runtime"`
	CPUs        int          `json:"cpus"`
	Balancer    string       `json:"balancer"` // as its own version command prints it
	Workers     int          `json:"workers"`  // worker processes seen running
	ConfigSHA   string       `json:"config_sha256"`
	Logged      []Logged     `json:"logged,omitempty"`  // what it complained of under the traffic
	Said        []model.Said `json:"said,omitempty"`    // warnings and errors that the balancer printed at its start
	Lines       []Line       `json:"lines,omitempty"`   // of the balancer's logs of requests, those with LogMark in them
	Client      string       `json:"client"`            // address the traffic came from
	Clients     string       `json:"clients,omitempty"` // network of clients with own addresses, see ClientAddress
	Nodes       []Node       `json:"nodes"`
	Phases      []Phase      `json:"phases"`
	Marks       []Mark       `json:"marks,omitempty"`
	Queried     []Queried    `json:"queried,omitempty"`     // of Plan.Queries, in their order
	Lost        []string     `json:"lost,omitempty"`        // ledgers with rows missing, and why
	Interrupted string       `json:"interrupted,omitempty"` // why the run ended early
}

// Logged is a line of the balancer's log that tells of trouble, and how often it came with other numbers in it.
type Logged struct {
	Text  string `json:"text"` // the first of them
	Count int    `json:"count"`
}

// LogMark begins a parameter in the query of requests whose lines in the balancer's logs are kept.
const LogMark = "lbproof-log="

// Line is one of a log of requests.
type Line struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// Mark is an event that was really in force, from when to when since the run's origin, or why it was not. It began between
// Before and From, and ended between Ended and To.
type Mark struct {
	Event   plan.Event    `json:"event"`
	Ordered time.Duration `json:"ordered_ns"`
	Before  time.Duration `json:"before_ns"` // when the last look began that did not see it, or Ordered
	From    time.Duration `json:"from_ns"`   // when the first look began that saw it
	Ended   time.Duration `json:"ended_ns"`  // when it was ordered to go
	To      time.Duration `json:"to_ns"`     // when the first look began that did not see it any more
	Seen    string        `json:"seen,omitempty"`
	Err     string        `json:"error,omitempty"`
}

// Queried is what became of a rule of Prometheus.
type Queried struct {
	Err     string    `json:"error,omitempty"`   // why Prometheus could not evaluate it
	Series  int       `json:"series"`            // that its selectors found in all
	Missing []Missing `json:"missing,omitempty"` // selectors that found none
	Firing  []Span    `json:"firing,omitempty"`  // when the alert fired
}

// Missing is a selector that no series fits.
type Missing struct {
	Selector string `json:"selector"`
	Near     string `json:"near,omitempty"` // a series with the same name; empty where there is none
}

// Span is a time since the run's origin.
type Span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Attempt is a connection that somebody tried to open to a backend, whatever became of it.
type Attempt struct {
	At     time.Duration
	Node   string
	From   string // address
	Source int    // port
	Port   int    // of the backend
}

// Node is how one container fared.
type Node struct {
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
	// Capped is how many hits were sent when as many were in flight as may be: those after them had to wait for the stack.
	Capped int  `json:"capped,omitempty"`
	Broke  bool `json:"broke,omitempty"` // it ended early, as its Load's Breaks say
	Known  bool `json:"known,omitempty"` // it ended early, because its Load's Draws were decided
}
