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
	Number  int       // of the phase in its plan
	First   uint64    // number of its first hit
	Host    string    // that requests ask for which name none
	At      string    // host name or address of the balancer, where that is not Host
	Origin  time.Time // of the hits' times
	Address func(client int) netip.Addr
	Trust   *x509.CertPool // whose certificates TLS takes; nil is any
	// Authority is whose certificates are told to be trusted, whether or not others are taken.
	Authority *x509.CertPool
	Gateway   Gateway     // to the balancer's own host
	Enough    func() bool // no more requests are to be begun; nil is never
}

// Gateway passes connections on that are to come from the balancer's own host.
type Gateway struct {
	Port  uint16
	Knock func(port int, from string) []byte // what it is sent first
}

// Engine sends a phase and calls emit for every hit, from one goroutine at a time, in the order of completion. It returns
// early when ctx ends, and then cuts what is in flight, which are hits with the error history.Tester.
type Engine interface {
	Send(ctx context.Context, p Phase, emit func(history.Hit))
}

// For gives the engine that a load names.
func For(l plan.Phase) Engine {
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

// secure is what a TLS connection that asks for a name wants. Without Trust it takes any certificate: whether it is the right
// one is a promise of its own, and no reason not to measure the others.
func (p *Phase) secure(name string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: p.Trust == nil, RootCAs: p.Trust, ServerName: name}
}

// at is where the balancer is.
func (p *Phase) at() string { return cmp.Or(p.At, p.Host) }

// now is the time since the origin.
func (p *Phase) now() time.Duration { return time.Since(p.Origin) }

// hit begins the record of request number i.
func (p *Phase) hit(i int, due time.Duration) history.Hit {
	h := history.Hit{Seq: p.First + uint64(i), Load: p.Number, Index: i, Client: p.Client(i), Due: due, Sent: p.now()}
	if !p.Open() {
		h.Due = h.Sent
	}
	return h
}

// from is the address that a client sends from; the zero value leaves it to the system.
func (p *Phase) from(client int) netip.Addr {
	if p.Address == nil || !p.Clients.Addresses {
		return netip.Addr{}
	}
	return p.Address(client)
}

// timetable hands out the requests of a phase in order. It is not safe for use by several goroutines.
type timetable struct {
	phase *Phase
	next  int
	due   time.Duration // of next, since the origin
	clock func() time.Duration
	began time.Duration
}

func newTimetable(p *Phase) *timetable {
	t := &timetable{phase: p, began: p.now()}
	if p.Open() {
		t.clock = p.Dues()
	}
	t.advance()
	return t
}

func (t *timetable) advance() {
	if t.clock != nil && t.next < t.phase.Count {
		t.due = t.began + t.clock()
	}
}

// more says whether there are requests to come.
func (t *timetable) more() bool {
	return t.next < t.phase.Count && (t.phase.Enough == nil || !t.phase.Enough())
}

// inRow says whether the next request is of the same row as the one before.
func (t *timetable) inRow() bool { return t.phase.InRow > 1 && t.next%t.phase.InRow != 0 }

// take is the next request and, in an open loop, when it is due.
func (t *timetable) take() (i int, due time.Duration) {
	i, due = t.next, t.due
	t.next++
	t.advance()
	return i, due
}

// resolver looks a host up, at most once a second.
type resolver struct {
	mu   sync.Mutex
	host string
	addr netip.Addr
	err  error
	at   time.Time
}

func (r *resolver) lookup(ctx context.Context) (netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if addr, err := netip.ParseAddr(r.host); err == nil {
		return addr, nil
	}
	if r.at.IsZero() || time.Since(r.at) > time.Second {
		r.addr, r.err = resolve(ctx, r.host)
		r.at = time.Now()
	}
	return r.addr, r.err
}
