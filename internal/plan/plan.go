package plan

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/model"
)

// Claim is one promise of a configuration.
type Claim struct {
	ID          string    `json:"id"`               // stable and readable: "weights/backend"
	Check       Check     `json:"check"`            // the check that judges it
	Subject     string    `json:"subject"`          // the pool, path or container that it is about
	Detail      string    `json:"detail,omitempty"` // the part of Subject that it is about: a header, "versions"
	Text        string    `json:"text"`             // one English sentence
	Pos         model.Pos `json:"pos"`
	Params      Params    `json:"params,omitempty"`      // the numbers that it predicts
	Assumptions []string  `json:"assumptions,omitempty"` // what the law that judges it takes for granted
	// Expectation is nil except for claims of CheckExpect.
	Expectation *Expectation `json:"expectation,omitempty"`
	// Implicit marks a default that nobody wrote; Pos is the line that brings it.
	Implicit bool `json:"implicit,omitempty"`
}

// Plan is everything that a run needs. It is written before anything starts and never changed afterwards.
type Plan struct {
	Schema string       `json:"schema"` // PlanSchema
	Name   string       `json:"name"`
	Alpha  float64      `json:"alpha"`
	Beta   float64      `json:"beta"`
	Config model.Config `json:"config"`
	Claims []Claim      `json:"claims"`
	// Checks are the kinds of claims to evaluate; empty means all.
	Checks []Check `json:"checks,omitempty"`
	// ProbeHeader is added to every request of designed phases, e.g. credentials that the backends require.
	ProbeHeader map[string]string `json:"probe_header,omitempty"`
	Specs       []Spec            `json:"specs"`
	// Bounds limit the nodes of each role whose Spec sets no limit.
	Bounds map[Role]Bound `json:"bounds,omitempty"`
	// Queries are the rules that Prometheus evaluates.
	Queries []Query `json:"queries,omitempty"`
	Phases  []Phase `json:"phases"`
	Events  []Event `json:"events,omitempty"`
}

// Event is a fault and when it is injected.
type Event struct {
	Phase    int           `json:"phase"` // index in Plan.Phases
	At       time.Duration `json:"at_ns"` // since the start of the phase
	Duration time.Duration `json:"duration_ns"`
	Fault    Fault         `json:"fault"`
	Target   string        `json:"target"` // a Spec's name
	Peer     string        `json:"peer"`   // the other end of the broken network, which verifies the fault
	Settings Settings      `json:"settings,omitempty"`
}

// Query is an alerting or recording rule of Prometheus.
type Query struct {
	Name      string    `json:"name"`
	Alert     bool      `json:"alert,omitempty"`
	Expr      string    `json:"expr"`
	Selectors []string  `json:"selectors"` // the series selectors in Expr
	Pos       model.Pos `json:"pos"`
}

// PlanSchema is the version of the JSON format.
const PlanSchema = "lbproof.plan/3"

// Decides reports whether the run evaluates a claim.
func (p Plan) Decides(c Claim) bool { return len(p.Checks) == 0 || slices.Contains(p.Checks, c.Check) }

// CheckRunnable reports what no run could carry out: phases without requests, faults in missing phases, files that do
// not match their digests.
func (p Plan) CheckRunnable() error {
	for i, l := range p.Phases {
		switch {
		case l.Count < 0:
			return fmt.Errorf("phase %d (%s): count %d is negative", i, l.Name, l.Count)
		case l.Count > 0 && len(l.Requests) == 0:
			return fmt.Errorf("phase %d (%s): no requests to send", i, l.Name)
		}
	}
	for i, e := range p.Events {
		if e.Phase < 0 || e.Phase >= len(p.Phases) {
			return fmt.Errorf("event %d (%s): there is no phase %d; the plan has %d, counted from 0",
				i, e.Fault, e.Phase, len(p.Phases))
		}
	}
	for _, f := range p.Config.Files {
		if sum := model.Digest(f.Content); sum != f.SHA256 {
			return fmt.Errorf("configuration file %s: the content has the SHA-256 %s, not %q", f.Name, sum, f.SHA256)
		}
	}
	return nil
}

// RequestCount returns how many requests the plan sends.
func (p Plan) RequestCount() int {
	n := 0
	for _, l := range p.Phases {
		n += l.Count
	}
	return n
}

// Spec is one node of the stack.
type Spec struct {
	Name           string   `json:"name"` // a server's host as the configuration writes it, or a HarnessName
	Role           Role     `json:"role"`
	Image          Image    `json:"image"`
	Command        []string `json:"command,omitempty"`
	ConfigTest     []string `json:"config_test,omitempty"`     // command that tests the configuration, of a balancer
	VersionCommand []string `json:"version_command,omitempty"` // command that prints the version, of a balancer
	WorkDir        string   `json:"work_dir,omitempty"`        // of the commands; empty means the image's
	WorkerTitle    string   `json:"worker_title,omitempty"`    // process title of workers, to count them
	// ReloadSignal makes its first process, the master, reload the configuration.
	ReloadSignal   string            `json:"reload_signal,omitempty"`
	Env            map[string]string `json:"env,omitempty"`
	Files          map[string]string `json:"files,omitempty"`           // path in the container → File.Name
	GeneratedFiles map[string]string `json:"generated_files,omitempty"` // path in the container → content
	SharedDirs     []string          `json:"shared_dirs,omitempty"`     // directories shared with the node's agent
	HasMaster      bool              `json:"has_master,omitempty"`      // its first process has the title of a worker
	Ports          []int             `json:"ports,omitempty"`
	TLSPorts       []int             `json:"tls_ports,omitempty"` // the Ports that speak TLS
	// Needs are the files that the stack makes for a backend; those of a balancer are in Config.Needs.
	Needs             []model.Need `json:"needs,omitempty"`
	NetworkOf         string       `json:"network_of,omitempty"`         // the node whose network namespace it shares
	ContainerHostname string       `json:"container_hostname,omitempty"` // empty: generated by the engine
	Address           string       `json:"address,omitempty"`            // that the configuration uses instead of a name
	// Helper marks an auth service or mirror, which answers 200 to everything and keeps no ledger.
	Helper        bool          `json:"helper,omitempty"`
	ControlPort   int           `json:"control_port,omitempty"`   // of a backend, serves its ledger
	CPUs          float64       `json:"cpus,omitempty"`           // cores; 0 means no limit
	Memory        int64         `json:"memory,omitempty"`         // bytes; 0 means no limit
	HealthCommand []string      `json:"health_command,omitempty"` // of the container
	User          string        `json:"user,omitempty"`           // of its processes (default: root)
	AutoRestart   bool          `json:"auto_restart,omitempty"`
	SettleTime    time.Duration `json:"settle_ns,omitempty"` // how long to wait for startup messages after it listens
}

// Host returns the node's host name on the run's network.
func (s Spec) Host() string {
	if s.Address != "" {
		return "at-" + strings.ReplaceAll(s.Address, ".", "-") + "." + model.ReservedDomain
	}
	return HostName(s.Name)
}

// Hosts returns all host names of the node on the run's network. Dependencies have a short one too, which programs in
// the user's configuration use.
func (s Spec) Hosts() []string {
	if s.Role == Dependency {
		return []string{s.Host(), ShortName(s.Name)}
	}
	return []string{s.Host()}
}

// LedgerDir holds the ledger of a backend.
const LedgerDir = "/ledger"

// CertificateHost is a name in every certificate of a run.
const CertificateHost = "lbproof.test"

// Role is the part a node plays.
type Role string

// The roles. The worker and the agents belong to the harness and are in no plan.
const (
	Balancer   Role = "balancer"
	Backend    Role = "backend"
	Peer       Role = "peer"       // another balancer with the same configuration
	Monitor    Role = "monitor"    // Prometheus and its exporters
	Dependency Role = "dependency" // of the backends: a database, a cache
	Worker     Role = "worker"     // sends the traffic
	Agent      Role = "agent"      // injects faults and samples usage, beside a node
)

// Bound protects the machine from a node. It is generous: a node that reaches it is out of control.
type Bound struct {
	Memory int64 `json:"memory"` // bytes
	PIDs   int64 `json:"pids"`   // processes and threads
}

// DefaultBounds returns the bounds of a plan that sets no others.
func DefaultBounds() map[Role]Bound {
	return map[Role]Bound{
		Balancer:   {4 << 30, 4096},
		Peer:       {4 << 30, 4096},
		Backend:    {1 << 30, 2048},
		Monitor:    {2 << 30, 2048},
		Dependency: {2 << 30, 2048},
		Worker:     {8 << 30, 4096},
		Agent:      {1 << 30, 1024},
	}
}

// Image is the source of a node's root file system: the local image Ref, else Ref pulled, else Packages or Module. The
// zero value is the image that holds lbproof itself.
type Image struct {
	Ref      string   `json:"ref,omitempty"`
	Packages []string `json:"packages,omitempty"` // Debian packages; their dependencies are added
	Users    []string `json:"users,omitempty"`    // system users that the program expects
	Dirs     []string `json:"dirs,omitempty"`     // directories that the program writes to
	Links    []string `json:"links,omitempty"`    // "path -> target"
	Module   *Module  `json:"module,omitempty"`   // instead of Packages
}

// Module is a Go program to build from the module proxy if its image is not available.
type Module struct {
	Name    string `json:"name"`    // of the program
	Path    string `json:"path"`    // of the module
	Version string `json:"version"` // e.g. v3.6.12
	Package string `json:"package"` // within the module
}

// Phase is one phase of traffic: closed loop (Concurrency) or open loop (Rate). It ends after Count requests.
type Phase struct {
	Kind           PhaseKind     `json:"kind,omitempty"`  // of a designed phase; Name is only a title
	About          string        `json:"about,omitempty"` // the claim, pool or rate of a designed phase that has one
	Name           string        `json:"name"`
	Engine         Engine        `json:"engine"`             // load generator
	ViaPeer        string        `json:"via_peer,omitempty"` // the peer to send through; empty means the balancer
	Count          int           `json:"count"`
	Concurrency    int           `json:"concurrency"`               // requests in flight; open loop: their limit
	Rate           float64       `json:"rate,omitempty"`            // requests per second, on average; 0: closed loop
	Shape          Shape         `json:"shape,omitzero"`            // of an open loop whose rate varies
	ThinkTime      time.Duration `json:"think_ns,omitempty"`        // closed loop: pause after a response
	MaxWait        time.Duration `json:"max_wait_ns,omitempty"`     // closed loop: upper bound of the slowest response
	Timeout        time.Duration `json:"timeout_ns"`                // of one request
	NewConnections bool          `json:"new_connections,omitempty"` // one for every request
	// PreciseTiming sends within 0.1 ms of the due time, at the cost of CPU time. Open loop only.
	PreciseTiming bool    `json:"precise_timing,omitempty"`
	Clients       Clients `json:"clients,omitzero"`
	Keys          Keys    `json:"keys,omitzero"`
	// FullHandshakes never resumes a TLS session.
	FullHandshakes bool `json:"full_handshakes,omitempty"`
	// Verify fails requests whose certificate is not issued by the run for the requested name and valid now.
	Verify      bool        `json:"verify,omitempty"`
	BreakLimits BreakLimits `json:"break_limits,omitzero"` // end the phase when the load is too much
	StopRules   []StopRule  `json:"stop_rules,omitempty"`  // end the phase when they are conclusive
	Seed        uint64      `json:"seed,omitempty"`        // of Poisson arrivals and keys
	Requests    []Request   `json:"requests"`              // sent in rotation
	// BurstLen is the number of consecutive requests that are equal and from the same client; 0 means 1. In an open loop
	// of the engines goroutines and epoll each waits for the response to the one before, up to BurstTimeout.
	BurstLen int `json:"burst_len,omitempty"`
	// Checks are the kinds of claims that the traffic is evidence for; empty means all.
	Checks  []Check  `json:"checks,omitempty"`
	Detects []string `json:"detects,omitempty"` // what the phase is designed to detect, a sentence each
}

// BurstTimeout limits how long after its due time a request of a burst waits for the response to the one before.
const BurstTimeout = 100 * time.Millisecond

// StopRule is a sequential test of shares, which ends the phase once it is conclusive (see stats.SequentialTest).
type StopRule struct {
	Claim     string             `json:"claim"`                // its requests are the samples
	Shares    map[string]float64 `json:"shares"`               // by server
	CountsFor map[string]string  `json:"counts_for,omitempty"` // server → the server whose share its responses count for
	Tolerance float64            `json:"tolerance"`            // relative deviation to exclude
	Alpha     float64            `json:"alpha"`
	Beta      float64            `json:"beta"`
}

// IsOpenLoop reports whether the phase sends at a given rate, regardless of responses.
func (l Phase) IsOpenLoop() bool { return l.Rate > 0 }

// The assumed throughput of a closed loop, requests per second.
const (
	closedRatePerClient = 100
	maxClosedRate       = 800
)

// EstimatedDuration is a rough upper bound of the duration.
func (l Phase) EstimatedDuration() time.Duration {
	rate := l.Rate
	if !l.IsOpenLoop() {
		rate = min(closedRatePerClient*float64(l.Concurrency), maxClosedRate)
	}
	return l.MaxWait + time.Duration(float64(l.Count)/rate*float64(time.Second))
}

// Engine is a load generator.
type Engine string

// The engines.
const (
	Goroutines Engine = "goroutines" // HTTP/1.1, one goroutine per connection, plain text and TLS
	Epoll      Engine = "epoll"      // HTTP/1.1 in plain text on one thread, for thousands of connections
	Vegeta     Engine = "vegeta"     // HTTP/2, with the vegeta library
	WebSocket  Engine = "websocket"  // connections stay open; each message is a hit
	Prober     Engine = "prober"     // single requests, each over a new connection; records the complete response
)

// Clients send the requests of a phase and share no connections. The zero value is one client with the worker's address
// and any number of connections.
type Clients struct {
	Count        int  `json:"count,omitempty"`         // client i modulo Count sends request i
	OwnAddresses bool `json:"own_addresses,omitempty"` // each client has its own IP address
	FirstAddress int  `json:"first_address,omitempty"` // of the first client, so that phases need not share any
	AddressStep  int  `json:"address_step,omitempty"`  // difference of two clients' addresses; 0 means 1
	Cookies      bool `json:"cookies,omitempty"`       // each client stores cookies and sends them back
}

// LastAddress returns the number of the last client's address.
func (c Clients) LastAddress() int { return c.FirstAddress + (c.Count-1)*max(1, c.AddressStep) }

// Address returns the address of a client in the network of clients. Consecutive clients have distant addresses, so
// that a hash of a part of the address spreads them over the servers.
func (c Clients) Address(network netip.Prefix, client int) netip.Addr {
	return ClientAddress(network, c.FirstAddress+client*c.stride()%max(1, c.Count)*max(1, c.AddressStep))
}

// stride returns a number that is coprime with Count, so that multiples permute the clients, and about 0.618 of it.
func (c Clients) stride() int {
	for stride := max(1, c.Count*618/1000); ; stride-- {
		a, b := c.Count, stride
		for b > 0 {
			a, b = b, a%b
		}
		if a <= 1 || stride == 1 {
			return stride
		}
	}
}

// ClientAddress returns the address number client (from 0) of a network, whose first address is not used.
func ClientAddress(network netip.Prefix, client int) netip.Addr {
	if !network.IsValid() {
		return netip.Addr{}
	}
	b := network.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1+uint32(client))
	return netip.AddrFrom4(b)
}

// AddressCount returns how many client addresses the plan needs.
func (p Plan) AddressCount() int {
	n := 0
	for _, l := range p.Phases {
		if l.Clients.OwnAddresses {
			n = max(n, l.Clients.LastAddress()+1)
		}
	}
	return n
}

// ClientIndex returns the client that sends request number i.
func (l Phase) ClientIndex(i int) int { return i / max(1, l.BurstLen) % max(1, l.Clients.Count) }

// Keys puts a key into every request, in a header or a cookie.
type Keys struct {
	Header string   `json:"header,omitempty"`
	Cookie string   `json:"cookie,omitempty"`
	Values []string `json:"values,omitempty"` // in rotation, unless Zipf is set
	// Zipf above 1 draws key k (from 0) with a probability proportional to (k+1)^-Zipf.
	Zipf float64 `json:"zipf,omitempty"`
}

// Key returns the key of request number i, "" if the phase has no keys. It depends only on Seed and i.
func (l Phase) Key(i int) string {
	switch n := uint64(len(l.Keys.Values)); {
	case n == 0:
		return ""
	case l.Keys.Zipf == 0:
		return l.Keys.Values[uint64(i)%n]
	default:
		r := rand.New(rand.NewPCG(l.Seed, uint64(i)))
		return l.Keys.Values[rand.NewZipf(r, l.Keys.Zipf, 1, n-1).Uint64()]
	}
}

// BreakLimits ends a phase after the first second that exceeds one of them. The zero value sets no limit.
type BreakLimits struct {
	ErrorShare float64 `json:"error_share,omitempty"` // share of failed requests
	// P99 is the 99th percentile of the latency, from the due time.
	P99 time.Duration `json:"p99_ns,omitempty"`
}

// Request is what one hit sends.
type Request struct {
	Method      string            `json:"method"`
	Port        int               `json:"port"` // of the balancer
	TLS         bool              `json:"tls,omitempty"`
	Path        string            `json:"path"`
	Header      map[string]string `json:"header,omitempty"`
	Body        model.Bytes       `json:"body,omitempty"`
	PaddingSize int64             `json:"padding_size,omitempty"` // bytes of padding after Body
	// Handshake constrains the TLS handshake. Engine prober only.
	Handshake *Handshake `json:"handshake,omitempty"`
	StallAt   Stall      `json:"stall_at,omitempty"`  // engine prober only
	KeepBody  bool       `json:"keep_body,omitempty"` // records the response body; engine prober only
	// LocalEndpoint is an address of the balancer's host to send from, or its UNIX socket to connect to (Port is then 0).
	// Engine prober only.
	LocalEndpoint string `json:"local_endpoint,omitempty"`
	Claim         string `json:"claim,omitempty"` // the ID of the claim that it probes; empty for a scenario's traffic
}

// RouteIn returns the route of cfg that matches the request's port, host and path.
func (r Request) RouteIn(cfg model.Config) (route model.Route, ok bool) {
	path, _, _ := strings.Cut(r.Path, "?")
	return cfg.Route(r.Port, r.Header["Host"], path)
}

// Handshake is what a client offers in a TLS handshake.
type Handshake struct {
	Version string `json:"version,omitempty"` // the only version, e.g. TLSv1.2; empty means all
	// Suite is the only cipher suite up to TLSv1.2, by its OpenSSL name; empty means all.
	Suite  string   `json:"suite,omitempty"`
	ALPN   []string `json:"alpn,omitempty"`
	Resume bool     `json:"resume,omitempty"` // reconnects, with the session of a first handshake
}

// Stall is the point at which a client stops sending and waits until the connection ends.
type Stall string

// The points of a stall.
const (
	StallInHeader       Stall = "header" // before the end of the header
	StallInBody         Stall = "body"   // before the first byte of the body
	StallAfterResponse  Stall = "response"
	StallInTunnel       Stall = "tunnel"
	StallAfterResponses Stall = "responses" // after the response and any further ones within a second
)

// Request returns the request of hit number i (from 0).
func (l Phase) Request(i int) Request { return l.Requests[l.RequestIndex(i)] }

// RequestIndex returns the index in Requests of hit number i.
func (l Phase) RequestIndex(i int) int { return i / max(1, l.BurstLen) % len(l.Requests) }

// FirstHit returns the number of the first hit of a phase.
func (p Plan) FirstHit(load int) uint64 {
	first := uint64(1)
	for _, l := range p.Phases[:load] {
		first += uint64(l.Count)
	}
	return first
}
