// Package load sends traffic: an engine takes a Phase and emits a history.Hit per request. It knows nothing of
// containers, claims or verdicts.
//
// All engines follow the same rules. A request is sent once, whatever its outcome. An open loop sends requests when
// they are due, never because others have completed. Latency counts from Due; Sent − Due is the sender's own lag,
// unless InFlight shows that all connections were busy. A failure is classified as a history.Err.
//
// To add an engine: one file here with its Send, one line in EngineFor, one in engines_test.go.
package load

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"sync"
	"time"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// Phase is a phase of a plan, ready to be sent.
type Phase struct {
	plan.Phase
	Number      int       // index of the phase in its plan
	FirstSeq    uint64    // number of its first hit
	DefaultHost string    // host name in requests that set none
	Addr        string    // host name or address of the balancer; default: DefaultHost
	Origin      time.Time // of the hits' times
	ClientAddr  func(client int) netip.Addr
	RootCAs     *x509.CertPool // to verify certificates against; nil accepts any
	// RunCA is the run's certificate authority; the prober reports whether a certificate is signed by it.
	RunCA      *x509.CertPool
	Gateway    Gateway     // on the balancer's own host
	ShouldStop func() bool // stops starting requests once true; nil: never
}

// Gateway forwards connections so that they originate from the balancer's own host.
type Gateway struct {
	Port     uint16
	Preamble func(port int, from string) []byte // first bytes sent to the gateway
}

// Engine sends a phase. It calls emit for every hit, never concurrently, in the order of completion. When ctx ends it
// returns early; requests in flight become hits with the error history.Tester.
type Engine interface {
	Send(ctx context.Context, p Phase, emit func(history.Hit))
}

// EngineFor returns the engine of a phase.
func EngineFor(l plan.Phase) Engine {
	switch l.Engine {
	case plan.Vegeta:
		return vegetaEngine{}
	case plan.Epoll:
		return epollEngine{}
	case plan.WebSocket:
		return socketEngine{}
	case plan.Prober:
		return proberEngine{}
	}
	return goroutineEngine{}
}

// tlsConfigFor returns the TLS configuration for a server name. Without RootCAs it accepts any certificate: whether the
// certificate is valid is a claim of its own and must not prevent measuring the others.
func (p *Phase) tlsConfigFor(name string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: p.RootCAs == nil, RootCAs: p.RootCAs, ServerName: name}
}

// balancerAddr returns the host name or address to connect to.
func (p *Phase) balancerAddr() string { return cmp.Or(p.Addr, p.DefaultHost) }

// now returns the time since the origin.
func (p *Phase) now() time.Duration { return time.Since(p.Origin) }

// newHit starts the record of request number i.
func (p *Phase) newHit(i int, due time.Duration) history.Hit {
	h := history.Hit{
		Seq: p.FirstSeq + uint64(i), Phase: p.Number, Index: i, Client: p.ClientIndex(i), Due: due, Sent: p.now(),
	}
	if !p.IsOpenLoop() {
		h.Due = h.Sent
	}
	return h
}

// sourceAddr returns the address that a client sends from; invalid: the system chooses.
func (p *Phase) sourceAddr(client int) netip.Addr {
	if p.ClientAddr == nil || !p.Clients.OwnAddresses {
		return netip.Addr{}
	}
	return p.ClientAddr(client)
}

// schedule hands out the requests of a phase in order. It is not safe for concurrent use.
type schedule struct {
	phase   *Phase
	next    int
	due     time.Duration // of next, since the origin
	nextDue func() time.Duration
	start   time.Duration
}

func newSchedule(p *Phase) *schedule {
	t := &schedule{phase: p, start: p.now()}
	if p.IsOpenLoop() {
		t.nextDue = p.DueTimes()
	}
	t.advance()
	return t
}

func (t *schedule) advance() {
	if t.nextDue != nil && t.next < t.phase.Count {
		t.due = t.start + t.nextDue()
	}
}

// hasMore reports whether requests remain.
func (t *schedule) hasMore() bool {
	return t.next < t.phase.Count && (t.phase.ShouldStop == nil || !t.phase.ShouldStop())
}

// inBurst reports whether the next request belongs to the same burst as the previous one.
func (t *schedule) inBurst() bool { return t.phase.BurstLen > 1 && t.next%t.phase.BurstLen != 0 }

// pop returns the next request and, in an open loop, its due time.
func (t *schedule) pop() (i int, due time.Duration) {
	i, due = t.next, t.due
	t.next++
	t.advance()
	return i, due
}

// resolver resolves a host, at most once a second.
type resolver struct {
	mu       sync.Mutex
	host     string
	addr     netip.Addr
	err      error
	lookedUp time.Time
}

func (r *resolver) lookup(ctx context.Context) (netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if addr, err := netip.ParseAddr(r.host); err == nil {
		return addr, nil
	}
	if r.lookedUp.IsZero() || time.Since(r.lookedUp) > time.Second {
		r.addr, r.err = resolve(ctx, r.host)
		r.lookedUp = time.Now()
	}
	return r.addr, r.err
}
