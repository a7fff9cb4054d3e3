// Package load sends traffic: an engine takes a phase of a plan.Phase and yields a history.Hit for every request.
// It knows nothing of containers, claims or verdicts.
//
// Every engine keeps to the same rules: a request is sent once, whatever becomes of it; an open loop sends when requests are
// due and never because others were answered; latency is to be counted from Due, and Sent − Due is the sender's own delay
// unless Flight says that all connections were taken; what goes wrong is a kind of history.Err.
//
// To add an engine: one file here with its Send, one line in For, and one in engines_test.go.
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

// Phase is a load being sent.
type Phase struct {
	plan.Phase
	Number      int       // of the phase in its plan
	FirstSeq    uint64    // number of its first hit
	DefaultHost string    // that requests ask for which name none
	Addr        string    // host name or address of the balancer, where that is not Host
	Origin      time.Time // of the hits' times
	ClientAddr  func(client int) netip.Addr
	RootCAs     *x509.CertPool // whose certificates TLS takes; nil is any
	// RunCA is whose certificates are told to be trusted, whether or not others are taken.
	RunCA      *x509.CertPool
	Gateway    Gateway     // to the balancer's own host
	ShouldStop func() bool // no more requests are to be begun; nil is never
}

// Gateway passes connections on that are to come from the balancer's own host.
type Gateway struct {
	Port     uint16
	Preamble func(port int, from string) []byte // what it is sent first
}

// Engine sends a phase and calls emit for every hit, from one goroutine at a time, in the order of completion. It returns
// early when ctx ends, and then cuts what is in flight, which are hits with the error history.Tester.
type Engine interface {
	Send(ctx context.Context, p Phase, emit func(history.Hit))
}

// EngineFor gives the engine that a load names.
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

// tlsConfigFor is what a TLS connection that asks for a name wants. Without Trust it takes any certificate: whether it is the right
// one is a promise of its own, and no reason not to measure the others.
func (p *Phase) tlsConfigFor(name string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: p.RootCAs == nil, RootCAs: p.RootCAs, ServerName: name}
}

// balancerAddr is where the balancer is.
func (p *Phase) balancerAddr() string { return cmp.Or(p.Addr, p.DefaultHost) }

// now is the time since the origin.
func (p *Phase) now() time.Duration { return time.Since(p.Origin) }

// newHit begins the record of request number i.
func (p *Phase) newHit(i int, due time.Duration) history.Hit {
	h := history.Hit{Seq: p.FirstSeq + uint64(i), Phase: p.Number, Index: i, Client: p.ClientIndex(i), Due: due, Sent: p.now()}
	if !p.IsOpenLoop() {
		h.Due = h.Sent
	}
	return h
}

// sourceAddr is the address that a client sends from; the zero value leaves it to the system.
func (p *Phase) sourceAddr(client int) netip.Addr {
	if p.ClientAddr == nil || !p.Clients.OwnAddresses {
		return netip.Addr{}
	}
	return p.ClientAddr(client)
}

// schedule hands out the requests of a phase in order. It is not safe for use by several goroutines.
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

// hasMore says whether there are requests to come.
func (t *schedule) hasMore() bool {
	return t.next < t.phase.Count && (t.phase.ShouldStop == nil || !t.phase.ShouldStop())
}

// inBurst says whether the next request is of the same row as the one before.
func (t *schedule) inBurst() bool { return t.phase.BurstLen > 1 && t.next%t.phase.BurstLen != 0 }

// pop is the next request and, in an open loop, when it is due.
func (t *schedule) pop() (i int, due time.Duration) {
	i, due = t.next, t.due
	t.next++
	t.advance()
	return i, due
}

// resolver looks a host up, at most once a second.
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
