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
	ID          string    `json:"id"`               // stable and human: "weights/backend"
	Check       Check     `json:"check"`            // the name of the check that judges it
	Subject     string    `json:"subject"`          // the pool, path or container it is about
	Detail      string    `json:"detail,omitempty"` // what of the subject, if a claim is about a part of it: a header's name, "versions"
	Text        string    `json:"text"`             // one English sentence
	Pos         model.Pos `json:"pos"`
	Params      Params    `json:"params,omitempty"`      // the numbers it predicts
	Assumptions []string  `json:"assumptions,omitempty"` // what must hold for the law that judges it
	// Expectation is what a claim of CheckExpect is about; nil of all others.
	Expectation *Expectation `json:"expectation,omitempty"`
	// Implicit: nobody wrote it, it is a default; Pos is the line that it comes with.
	Implicit bool `json:"implicit,omitempty"`
}

// Plan is all that a run needs, and no more. It is written before anything starts and never changed after.
type Plan struct {
	Schema string       `json:"schema"` // PlanSchema
	Name   string       `json:"name"`
	Alpha  float64      `json:"alpha"`
	Beta   float64      `json:"beta"`
	Config model.Config `json:"config"`
	Claims []Claim      `json:"claims"`
	// Checks are the kinds of promises that the run sets out to decide; empty is all.
	Checks []Check `json:"checks,omitempty"`
	// ProbeHeader is the header that every request of designed experiments carries, so that what lbproof cannot read lets
	// it through.
	ProbeHeader map[string]string `json:"probe_header,omitempty"`
	Specs       []Spec            `json:"specs"`
	// Bounds are the most that a node of each role may use where its Spec sets no limit.
	Bounds map[Role]Bound `json:"bounds,omitempty"`
	// Queries are the rules that Prometheus has.
	Queries []Query `json:"queries,omitempty"`
	Phases  []Phase `json:"phases"`
	Events  []Event `json:"events,omitempty"`
}

// Event is a fault, at a time since a phase of traffic began.
type Event struct {
	Phase    int           `json:"phase"` // index in Plan.Loads
	At       time.Duration `json:"at_ns"`
	Duration time.Duration `json:"duration_ns"`
	Fault    Fault         `json:"fault"`
	Target   string        `json:"target"` // a Spec's name
	Peer     string        `json:"peer"`   // the other end: with whom the target's network is broken, and who looks
	Settings Settings      `json:"settings,omitempty"`
}

// Query is an alerting or a recording rule of Prometheus.
type Query struct {
	Name      string    `json:"name"`
	Alert     bool      `json:"alert,omitempty"`
	Expr      string    `json:"expr"`
	Selectors []string  `json:"selectors"` // of series, in Expr
	Pos       model.Pos `json:"pos"`
}

// PlanSchema is the version of the plan's JSON form.
const PlanSchema = "lbproof.plan/3"

// Decides says whether the run sets out to decide a claim.
func (p Plan) Decides(c Claim) bool { return len(p.Checks) == 0 || slices.Contains(p.Checks, c.Check) }

// CheckRunnable says what no run could keep to: phases without requests, faults in phases that are not there, files that are
// not what their digests say.
func (p Plan) CheckRunnable() error {
	for i, l := range p.Phases {
		switch {
		case l.Count < 0:
			return fmt.Errorf("phase %d (%s): count is %d", i, l.Name, l.Count)
		case l.Count > 0 && len(l.Requests) == 0:
			return fmt.Errorf("phase %d (%s): it has no requests to send", i, l.Name)
		}
	}
	for i, e := range p.Events {
		if e.Phase < 0 || e.Phase >= len(p.Phases) {
			return fmt.Errorf("event %d (%s): it is in phase %d, and there are %d", i, e.Fault, e.Phase, len(p.Phases))
		}
	}
	for _, f := range p.Config.Files {
		if sum := model.Digest(f.Content); sum != f.SHA256 {
			return fmt.Errorf("configuration file %s: its content has the SHA-256 %s instead of %q", f.Name, sum, f.SHA256)
		}
	}
	return nil
}

// RequestCount is how many requests the plan sends.
func (p Plan) RequestCount() int {
	n := 0
	for _, l := range p.Phases {
		n += l.Count
	}
	return n
}

// Spec is one node of the stack.
type Spec struct {
	Name           string   `json:"name"` // a server's host as the configuration writes it, or an OwnName
	Role           Role     `json:"role"`
	Image          Image    `json:"image"`
	Command        []string `json:"command,omitempty"`
	ConfigTest     []string `json:"config_test,omitempty"`     // the balancer's own configuration checker
	VersionCommand []string `json:"version_command,omitempty"` // command that prints the balancer's version
	WorkDir        string   `json:"work_dir,omitempty"`        // in which the commands run; empty is the image's own
	WorkerTitle    string   `json:"worker_title,omitempty"`    // what a worker process calls itself, to count them
	// ReloadSignal: signal that makes its first process, the master, take over its configuration.
	ReloadSignal   string            `json:"reload_signal,omitempty"`
	Env            map[string]string `json:"env,omitempty"`
	Files          map[string]string `json:"files,omitempty"`           // path in the container → File.Name of the configuration
	GeneratedFiles map[string]string `json:"generated_files,omitempty"` // path in the container → text, beside Files
	SharedDirs     []string          `json:"shared_dirs,omitempty"`     // directories that lbproof's agent beside the node sees too
	HasMaster      bool              `json:"has_master,omitempty"`      // its first process has the Title too, and is no worker
	Ports          []int             `json:"ports,omitempty"`
	TLSPorts       []int             `json:"tls_ports,omitempty"` // those of Ports that speak TLS
	// Needs: of a backend: files that the stack makes for it; a balancer's are in Config.Needs.
	Needs     []model.Need `json:"needs,omitempty"`
	NetworkOf string       `json:"network_of,omitempty"` // name of a node in whose network it is, and has its addresses
	// ContainerHostname: that its container calls itself; empty: the engine makes one up.
	ContainerHostname string `json:"container_hostname,omitempty"`
	Address           string `json:"address,omitempty"` // that the configuration knows it by, where that is no name
	// Helper: answers 200 to everything and keeps no ledger: auth services, mirrors.
	Helper        bool          `json:"helper,omitempty"`
	ControlPort   int           `json:"control_port,omitempty"`   // port on which a backend hands out its ledger
	CPUs          float64       `json:"cpus,omitempty"`           // cores; 0 is no limit
	Memory        int64         `json:"memory,omitempty"`         // bytes; 0 is no limit
	HealthCommand []string      `json:"health_command,omitempty"` // the container's health check
	User          string        `json:"user,omitempty"`           // that its processes run as; root where it is empty
	AutoRestart   bool          `json:"auto_restart,omitempty"`
	SettleTime    time.Duration `json:"settle_ns,omitempty"` // after it listens, until it has said what it does not like
}

// Host is the node's host name on the run's network.
func (s Spec) Host() string {
	if s.Address != "" {
		return "at-" + strings.ReplaceAll(s.Address, ".", "-") + "." + model.ReservedDomain
	}
	return HostName(s.Name)
}

// Hosts are all host names of the node on the run's network: what programs of users need they ask for by its short
// name.
func (s Spec) Hosts() []string {
	if s.Role == Dependency {
		return []string{s.Host(), ShortName(s.Name)}
	}
	return []string{s.Host()}
}

// LedgerDir is where a backend keeps its ledger.
const LedgerDir = "/ledger"

// CertificateHost is a name that every certificate of a run is for.
const CertificateHost = "lbproof.test"

// Role is the part a node plays.
type Role string

// The roles. The worker and the agents are the harness's own and stand in no plan.
const (
	Balancer   Role = "balancer"
	Backend    Role = "backend"
	Peer       Role = "peer"       // another balancer with the same configuration
	Monitor    Role = "monitor"    // Prometheus, and what exports a balancer's counters to it
	Dependency Role = "dependency" // what backends need themselves: a database, a cache
	Worker     Role = "worker"
	Agent      Role = "agent"
)

// Bound protects the machine from a node. It is generous: a node that comes near it is out of hand.
type Bound struct {
	Memory int64 `json:"memory"` // bytes
	PIDs   int64 `json:"pids"`   // processes and threads
}

// DefaultBounds are those of a plan that sets no others.
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

// Image says where a node's root file system comes from: a local image named Ref, else Ref pulled, else the packages
// unpacked. The zero value is the image that holds lbproof itself.
type Image struct {
	Ref      string   `json:"ref,omitempty"`
	Packages []string `json:"packages,omitempty"` // Debian packages, their dependencies come with them
	Users    []string `json:"users,omitempty"`    // system users the program expects
	Dirs     []string `json:"dirs,omitempty"`     // directories it writes to
	Links    []string `json:"links,omitempty"`    // "path -> target"
	Module   *Module  `json:"module,omitempty"`   // instead of Packages: a Go program, built from the module proxy
}

// Module is a Go program that is built where it cannot be had as an image.
type Module struct {
	Name    string `json:"name"`    // of the program
	Path    string `json:"path"`    // of the module
	Version string `json:"version"` // as v3.6.12
	Package string `json:"package"` // within the module
}

// Phase is one phase of traffic: closed loop (Concurrency) or open loop (Rate). It ends after Count requests.
type Phase struct {
	Kind           PhaseKind     `json:"kind,omitempty"`  // of a designed phase: what decides about it; Name is for people
	About          string        `json:"about,omitempty"` // of a designed phase that is about one claim, or some: which
	Name           string        `json:"name"`
	Engine         Engine        `json:"engine"`             // what sends it
	ViaPeer        string        `json:"via_peer,omitempty"` // the peer that it is sent through; empty is the balancer
	Count          int           `json:"count"`
	Concurrency    int           `json:"concurrency"`               // closed loop: requests in flight; open loop: the most in flight
	Rate           float64       `json:"rate,omitempty"`            // requests per second, of a Shape their mean; 0 is closed loop
	Shape          Shape         `json:"shape,omitzero"`            // of an open loop whose rate is not constant
	ThinkTime      time.Duration `json:"think_ns,omitempty"`        // closed loop: pause of each client between answer and request
	MaxWait        time.Duration `json:"max_wait_ns,omitempty"`     // closed loop: how long the slowest answer is awaited at most
	Timeout        time.Duration `json:"timeout_ns"`                // of one request
	NewConnections bool          `json:"new_connections,omitempty"` // a connection for every request
	// PreciseTiming: open loop: sent to a tenth of a millisecond, at the price of processor time.
	PreciseTiming bool    `json:"precise_timing,omitempty"`
	Clients       Clients `json:"clients,omitzero"`
	Keys          Keys    `json:"keys,omitzero"`
	// FullHandshakes: no TLS session is taken up again.
	FullHandshakes bool `json:"full_handshakes,omitempty"`
	// Verify: a certificate that is not the run's own, for the name asked for and valid now, ends the request.
	Verify      bool        `json:"verify,omitempty"`
	BreakLimits BreakLimits `json:"break_limits,omitzero"` // when the phase ends before Count, because it is too much
	StopRules   []StopRule  `json:"stop_rules,omitempty"`  // when it ends before Count, because enough is known
	Seed        uint64      `json:"seed,omitempty"`        // of what is random: Poisson arrivals, keys
	Requests    []Request   `json:"requests"`              // sent in turn
	// BurstLen is how many requests one after another are the same, and of the same client; 0 is 1.
	// In an open loop of the engines goroutines and epoll each waits for the answer to the one before, RowPatience at
	// most.
	BurstLen int `json:"burst_len,omitempty"`
	// Checks are the kinds of promises that the traffic bears on; empty is all.
	Checks  []Check  `json:"checks,omitempty"`
	Detects []string `json:"detects,omitempty"` // what it is designed to show, a sentence each
}

// BurstTimeout is how long after it is due a request of a row waits for the answer to the one before.
const BurstTimeout = 100 * time.Millisecond

// StopRule are shares that a phase tests hit by hit, so that it can stop when it knows (see stats.Draws).
type StopRule struct {
	Claim     string             `json:"claim"`                // of the requests that are drawn
	Shares    map[string]float64 `json:"shares"`               // by server
	CountsFor map[string]string  `json:"counts_for,omitempty"` // whose share a server's answers count for, where it is not its own
	Tolerance float64            `json:"tolerance"`            // relative deviation to be excluded
	Alpha     float64            `json:"alpha"`
	Beta      float64            `json:"beta"`
}

// IsOpenLoop says whether the load keeps its rate whatever the balancer does.
func (l Phase) IsOpenLoop() bool { return l.Rate > 0 }

// What a closed loop is taken to get done, requests per second: for each in flight, and in all.
const (
	closedRatePerClient = 100
	maxClosedRate       = 800
)

// EstimatedDuration is how long the load takes at most, roughly.
func (l Phase) EstimatedDuration() time.Duration {
	rate := l.Rate
	if !l.IsOpenLoop() {
		rate = min(closedRatePerClient*float64(l.Concurrency), maxClosedRate)
	}
	return l.MaxWait + time.Duration(float64(l.Count)/rate*float64(time.Second))
}

// Engine is a way to send requests.
type Engine string

// The engines.
const (
	Goroutines Engine = "goroutines" // HTTP/1.1, one goroutine per connection, plain text and TLS
	Epoll      Engine = "epoll"      // HTTP/1.1 in plain text on one thread, for thousands of connections
	Vegeta     Engine = "vegeta"     // the vegeta library: HTTP/2
	WebSocket  Engine = "websocket"  // connections held open, a message is a hit
	Prober     Engine = "prober"     // every request over a connection of its own, and all of its answer is kept
)

// Clients are who sends a load. The zero value is one client with the worker's address and as many connections as it
// needs.
type Clients struct {
	Count        int  `json:"count,omitempty"`         // request i is client i modulo Count's; each has connections of its own
	OwnAddresses bool `json:"own_addresses,omitempty"` // each has an address of its own
	FirstAddress int  `json:"first_address,omitempty"` // number of the first one's address, so that phases need share none
	AddressStep  int  `json:"address_step,omitempty"`  // how far two addresses lie apart; 0 is 1
	Cookies      bool `json:"cookies,omitempty"`       // each keeps cookies and sends them back
}

// LastAddress is the number of the last client's address.
func (c Clients) LastAddress() int { return c.FirstAddress + (c.Count-1)*max(1, c.AddressStep) }

// Address is what a client sends from, in the network of those with addresses of their own. Clients whose turns come
// one after another have addresses far apart, so that a hash of parts of the address sends them to different servers.
func (c Clients) Address(network netip.Prefix, client int) netip.Addr {
	return ClientAddress(network, c.FirstAddress+client*c.stride()%max(1, c.Count)*max(1, c.AddressStep))
}

// stride is about 0.618 of the clients' number, and has no divisor in common with it, so that each gets another's
// place.
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

// ClientAddress is the address of a client with one of its own: the first client has the network's second.
func ClientAddress(network netip.Prefix, client int) netip.Addr {
	if !network.IsValid() {
		return netip.Addr{}
	}
	b := network.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+1+uint32(client))
	return netip.AddrFrom4(b)
}

// AddressCount is how many client addresses the plan needs.
func (p Plan) AddressCount() int {
	n := 0
	for _, l := range p.Phases {
		if l.Clients.OwnAddresses {
			n = max(n, l.Clients.LastAddress()+1)
		}
	}
	return n
}

// ClientIndex is whose request number i is.
func (l Phase) ClientIndex(i int) int { return i / max(1, l.BurstLen) % max(1, l.Clients.Count) }

// Keys puts a key into every request, in a header or a cookie.
type Keys struct {
	Header string   `json:"header,omitempty"`
	Cookie string   `json:"cookie,omitempty"`
	Values []string `json:"values,omitempty"` // sent in turn, unless Zipf
	// Zipf: key k (from 0) is drawn with a probability in proportion to (k+1)^-Zipf; above 1.
	Zipf float64 `json:"zipf,omitempty"`
}

// Key is the key of request number i; empty where the load has none. It is a function of the seed and i alone.
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

// BreakLimits ends a phase before its count, in the first second that is worse than it says. The zero value never does.
type BreakLimits struct {
	ErrorShare float64 `json:"error_share,omitempty"` // share of the second's requests that failed
	// P99: that more than 1 % of them exceeded, counted from when they were due.
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
	PaddingSize int64             `json:"padding_size,omitempty"` // bytes that follow Body, all alike
	// Handshake: the TLS handshake, where it is a certain one; of the engine prober.
	Handshake *Handshake `json:"handshake,omitempty"`
	StallAt   Stall      `json:"stall_at,omitempty"`  // of the engine prober
	KeepBody  bool       `json:"keep_body,omitempty"` // the body of the answer is kept; of the engine prober
	// LocalEndpoint: address of the balancer's own host that it comes from, or a Socket that it goes to; of the engine prober.
	LocalEndpoint string `json:"local_endpoint,omitempty"`
	Claim         string `json:"claim,omitempty"` // the claim it was sent for; empty for the scenario's own traffic
}

// RouteIn is the route of a configuration that takes the request by its port, host and path; ok is false where none
// does.
func (r Request) RouteIn(cfg model.Config) (route model.Route, ok bool) {
	path, _, _ := strings.Cut(r.Path, "?")
	return cfg.Route(r.Port, r.Header["Host"], path)
}

// Handshake is what a client offers in a TLS handshake.
type Handshake struct {
	Version string `json:"version,omitempty"` // the only one that it speaks, as TLSv1.2; empty is all
	// Suite: the only one that it offers up to TLSv1.2, by OpenSSL's name; empty is all.
	Suite  string   `json:"suite,omitempty"`
	ALPN   []string `json:"alpn,omitempty"`
	Resume bool     `json:"resume,omitempty"` // it comes a second time, and brings the session of the first
}

// Stall is where a client says nothing more and waits until the connection ends.
type Stall string

// The silences.
const (
	StallInHeader       Stall = "header" // before the end of the request's header
	StallInBody         Stall = "body"   // before the first byte of the request's body
	StallAfterResponse  Stall = "response"
	StallInTunnel       Stall = "tunnel"
	StallAfterResponses Stall = "responses" // after the answer, and after any that follow it for a second
)

// Request is the request that hit number i (from 0) of the load sends.
func (l Phase) Request(i int) Request { return l.Requests[l.RequestIndex(i)] }

// RequestIndex is the place of request number i among Requests.
func (l Phase) RequestIndex(i int) int { return i / max(1, l.BurstLen) % len(l.Requests) }

// FirstHit is the number of the first hit of a phase.
func (p Plan) FirstHit(load int) uint64 {
	first := uint64(1)
	for _, l := range p.Phases[:load] {
		first += uint64(l.Count)
	}
	return first
}
