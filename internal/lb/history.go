package lb

import (
	"hash/crc32"
	"iter"
	"time"
)

// IDHeader joins a client's request to what a backend saw of it.
const IDHeader = "X-Lbproof-Id"

// ServerHeader names the backend in its answers.
const ServerHeader = "X-Lbproof-Server"

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
	Err    Err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum that a Hit keeps of a body.
func Sum(body []byte) uint32 { return crc32.Checksum(body, castagnoli) }

// Err is why a hit got no whole answer; empty where it did.
type Err string

// The kinds of Err. Tester is a fault of the sender's own and never held against the balancer.
const (
	Refused Err = "refused"
	Reset   Err = "reset"
	Closed  Err = "closed"
	Timeout Err = "timeout"
	DNS     Err = "dns"
	Tester  Err = "tester"
	Other   Err = "other"
)

// Arrival is what a backend saw of one request: the witness that counts retries, duplicates and losses.
type Arrival struct {
	Seq    uint64 // of the hit; 0 where the request carried no id
	At     time.Duration
	Server string
	Header string // the observed header fields, in url.Values encoding
}

// History is what happened in a run. Hits and Arrivals are read anew from storage by each loop, so memory stays flat.
type History struct {
	Plan     Plan
	Env      Environment
	Hits     iter.Seq[Hit]
	Arrivals iter.Seq[Arrival]
	Err      func() error // why the last loop ended early; nil where it did not
}

// Environment is where a run took place and how the stack fared.
type Environment struct {
	Started     time.Time    `json:"started"`
	Lbproof     string       `json:"lbproof"`
	Host        string       `json:"host"` // operating system and kernel
	Runtime     string       `json:"runtime"`
	CPUs        int          `json:"cpus"`
	Balancer    string       `json:"balancer"` // as its own version command prints it
	Workers     int          `json:"workers"`  // worker processes seen running
	ConfigSHA   string       `json:"config_sha256"`
	Said        []Said       `json:"said,omitempty"` // warnings and errors that the balancer printed at its start
	Client      string       `json:"client"`         // address the traffic came from
	Nodes       []Node       `json:"nodes"`
	Phases      []PhaseStats `json:"phases"`
	Marks       []Mark       `json:"marks,omitempty"`
	Lost        []string     `json:"lost,omitempty"`        // ledgers with rows missing, and why
	Interrupted string       `json:"interrupted,omitempty"` // why the run ended early
}

// Mark is an event that was really in force, from when to when since the run's origin, or why it was not.
type Mark struct {
	Event Event         `json:"event"`
	From  time.Duration `json:"from_ns"`
	To    time.Duration `json:"to_ns"`
	Err   string        `json:"error,omitempty"`
}

// Node is how one container fared.
type Node struct {
	Name      string  `json:"name"`
	Role      Role    `json:"role"`
	Image     string  `json:"image"`
	Source    string  `json:"source"` // local, pulled or built, and from what
	Address   string  `json:"address"`
	CPUs      float64 `json:"cpus,omitempty"`
	Memory    int64   `json:"memory,omitempty"`
	Restarts  int     `json:"restarts"`
	OOMKilled bool    `json:"oom_killed"`
	Exit      string  `json:"exit,omitempty"` // how it ended, if it did before the harness stopped it
}

// PhaseStats is the sender's account of one phase.
type PhaseStats struct {
	Start time.Duration `json:"start_ns"`
	End   time.Duration `json:"end_ns"`
	CPU   time.Duration `json:"cpu_ns"` // of the sender, all threads
	Hits  int           `json:"hits"`
}
