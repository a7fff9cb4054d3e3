// Package load sends traffic: an engine takes an lb.Load and yields an lb.Hit for every request.
// It knows nothing of containers, claims or verdicts.
package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/lbproof/lbproof/internal/lb"
)

// Vegeta sends loads with the vegeta library. Its traps are guarded against: workers are bounded, connections are made
// without binding a local address, and latency counts from the intended time, not from when a worker was free.
type Vegeta struct {
	Host   string // host name or address of the balancer
	Origin time.Time
}

// Send sends the phase number of a plan, whose hits are numbered from first on, and calls emit for every hit, from one
// goroutine, in the order of completion. It returns early, without an error, when ctx ends.
func (v Vegeta) Send(ctx context.Context, number int, first uint64, l lb.Load, emit func(lb.Hit)) {
	clock := &clock{rate: l.Rate, count: uint64(l.Count)}
	transport := newTransport(ctx, l)
	defer transport.CloseIdleConnections()
	byName := &names{clients: map[string]*http.Transport{}}
	defer byName.close()
	blank := func(t *vegeta.Target) error { // sender fills it in, because only then its number is known
		*t = vegeta.Target{Method: http.MethodGet, URL: "http://" + v.Host}
		return nil
	}
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{
			Transport:     sender{next: transport, names: byName, load: l, host: v.Host, first: first},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       l.Timeout,
		}),
		vegeta.Workers(uint64(min(l.Concurrency, l.Count))),
		vegeta.MaxWorkers(uint64(min(l.Concurrency, l.Count))),
	)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	for r := range attacker.Attack(blank, clock, 0, "") {
		hit := lb.Hit{
			Seq: first + r.Seq, Load: number, Index: int(r.Seq),
			Sent: r.Timestamp.Sub(v.Origin), Done: r.Timestamp.Add(r.Latency).Sub(v.Origin),
			Code: int(r.Code), Server: r.Headers.Get(lb.ServerHeader),
			Size: int64(len(r.Body)), Sum: lb.Sum(r.Body),
		}
		hit.Due = hit.Sent
		if l.Open() {
			hit.Due = clock.due(r.Seq).Sub(v.Origin)
		}
		if r.Code == 0 {
			hit.Err = classify(r.Error)
			if ctx.Err() != nil {
				hit.Err = lb.Tester // cut by us, whatever it looked like
			}
		}
		emit(hit)
	}
}

// newTransport is a client of the load's own: plain sockets, kept alive, as many as requests in flight, cut when ctx ends.
func newTransport(ctx context.Context, l lb.Load) *http.Transport {
	dialer := &net.Dialer{Timeout: l.Timeout}
	return &http.Transport{
		DialContext: func(dialing context.Context, network, addr string) (net.Conn, error) {
			dialing, cancel := context.WithCancel(dialing)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			conn, err := dialer.DialContext(dialing, network, addr)
			if err != nil {
				return nil, err
			}
			return stoppable{conn, context.AfterFunc(ctx, func() { conn.Close() })}, nil
		},
		TLSClientConfig:     tlsConfig(),
		MaxIdleConnsPerHost: l.Concurrency,
		DisableCompression:  true,
	}
}

// tlsConfig takes any certificate: whether it is the right one is a promise of its own, and no reason not to measure the others.
func tlsConfig() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
}

// stoppable is a connection that something else closes unless Close comes first.
type stoppable struct {
	net.Conn
	forget func() bool
}

func (s stoppable) Close() error {
	s.forget()
	return s.Conn.Close()
}

// clock paces a load and knows when each hit was due. It is vegeta's Pacer, called from one goroutine.
type clock struct {
	rate  float64
	count uint64
	began atomic.Pointer[time.Time]
}

// Pace says how long to wait before hit number sent, and stops after the last.
func (c *clock) Pace(elapsed time.Duration, sent uint64) (time.Duration, bool) {
	if sent == 0 {
		began := time.Now().Add(-elapsed)
		c.began.Store(&began)
	}
	if sent >= c.count {
		return 0, true
	}
	if c.rate <= 0 {
		return 0, false
	}
	return max(0, c.after(sent)-elapsed), false
}

// Rate is part of vegeta's Pacer interface; Attack does not call it.
func (c *clock) Rate(time.Duration) float64 { return c.rate }

func (c *clock) after(seq uint64) time.Duration {
	return time.Duration(float64(seq) / c.rate * float64(time.Second))
}

func (c *clock) due(seq uint64) time.Time { return c.began.Load().Add(c.after(seq)) }

// sender turns vegeta's blank request into the load's own: hit number n carries request number n and its id.
type sender struct {
	next  *http.Transport
	names *names
	load  lb.Load
	host  string
	first uint64
}

func (s sender) RoundTrip(blank *http.Request) (*http.Response, error) {
	seq, err := strconv.ParseUint(blank.Header.Get("X-Vegeta-Seq"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read the number that vegeta gave the request: %w", err)
	}
	want := s.load.Request(int(seq))
	at := "http://"
	next := http.RoundTripper(s.next)
	if want.TLS {
		at = "https://"
		if name, _, _ := strings.Cut(want.Header["Host"], ":"); name != "" {
			next = s.named(name)
		}
	}
	at += net.JoinHostPort(s.host, strconv.Itoa(want.Port)) + want.Path
	req, err := http.NewRequestWithContext(blank.Context(), want.Method, at, bytes.NewReader(want.Body))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if len(want.Body) == 0 {
		req.Body, req.GetBody = empty{}, nil // else net/http would send a GET again on its own
	}
	for name, value := range want.Header {
		req.Header.Set(name, value)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	req.Header.Set(lb.IDHeader, strconv.FormatUint(s.first+seq, 10))
	return next.RoundTrip(req)
}

// names are the clients that ask for a host by name in the TLS handshake.
type names struct {
	mu      sync.Mutex
	clients map[string]*http.Transport
}

// named is a client like the sender's own that asks for the host in its handshakes (SNI).
func (s sender) named(host string) http.RoundTripper {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	client, ok := s.names.clients[host]
	if !ok {
		client = s.next.Clone()
		client.TLSClientConfig.ServerName = host
		s.names.clients[host] = client
	}
	return client
}

func (n *names) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.clients {
		c.CloseIdleConnections()
	}
}

// empty is a body without content that cannot be sent twice.
type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }
func (empty) Close() error             { return nil }

// classify finds the kind of a failure in its text: vegeta hands on nothing else.
func classify(text string) lb.Err {
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case has("too many open files", "cannot assign requested address", "context canceled", "operation was canceled", "use of closed network connection", "vegeta"):
		return lb.Tester
	case has("connection refused"):
		return lb.Refused
	case has("connection reset", "broken pipe"):
		return lb.Reset
	case has("deadline exceeded", "Client.Timeout", "i/o timeout"):
		return lb.Timeout
	case has("no such host", "server misbehaving"):
		return lb.DNS
	case has("EOF", "server closed idle connection"):
		return lb.Closed
	}
	return lb.Other
}
