package load

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tsenart/vegeta/v12/lib"

	"github.com/lbproof/lbproof/internal/history"
)

// vegetaEngine sends with the vegeta library, over HTTP/2 if the server supports it. It avoids vegeta's pitfalls: the
// number of workers is limited, connections bind no local address, and latency counts from the due time rather than
// from when a worker was free.
type vegetaEngine struct{}

// Send implements Engine.
func (vegetaEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &vegetaTransport{
		Phase: &p, ctx: ctx, schedule: newSchedule(&p),
		pending: map[uint64]history.Hit{}, clients: map[string]*http.Transport{}, conns: map[net.Conn]int{},
	}
	defer c.close()
	blank := func(t *vegeta.Target) error { // vegetaTransport fills it in once the hit's number is known
		*t = vegeta.Target{Method: http.MethodGet, URL: "http://" + p.DefaultHost}
		return nil
	}
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{
			Transport:     c,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       p.Timeout,
		}),
		vegeta.Workers(uint64(min(p.Concurrency, p.Count))),
		vegeta.MaxWorkers(uint64(min(p.Concurrency, p.Count))),
	)
	defer context.AfterFunc(ctx, func() { attacker.Stop() })()
	for r := range attacker.Attack(blank, c, 0, "") {
		h := c.takeHit(r.Seq)
		h.Sent, h.Done = r.Timestamp.Sub(p.Origin), r.Timestamp.Add(r.Latency).Sub(p.Origin)
		h.Code, h.Server = int(r.Code), r.Headers.Get(history.ServerHeader)
		h.Size, h.Checksum = int64(len(r.Body)), history.Checksum(r.Body)
		if !p.IsOpenLoop() {
			h.Due = h.Sent
		}
		if r.Code == 0 {
			h.Err = classifyText(r.Error)
			if ctx.Err() != nil {
				h.Err = history.Tester // cancelled by the sender, whatever the error looks like
			}
		}
		emit(h)
	}
}

// vegetaTransport replaces vegeta's blank requests by those of the phase: hit number n carries request number n and its
// ID. It is also vegeta's pacer.
type vegetaTransport struct {
	*Phase
	ctx      context.Context
	schedule *schedule // used only by Pace's goroutine

	mu       sync.Mutex
	pending  map[uint64]history.Hit // hits in flight, by vegeta's number
	inFlight int
	clients  map[string]*http.Transport // by server name
	conns    map[net.Conn]int
}

// Pace implements vegeta.Pacer. It stops after the last request or when the phase is stopped: vegeta's own Stop takes
// effect later, and requests sent in between fail by the dozen.
func (c *vegetaTransport) Pace(time.Duration, uint64) (time.Duration, bool) {
	if !c.schedule.hasMore() || c.ctx.Err() != nil {
		return 0, true
	}
	wait := max(0, c.schedule.due-c.now())
	i, due := c.schedule.pop()
	c.updateHit(uint64(i), func(h *history.Hit) {
		*h = c.newHit(i, due)
	})
	if !c.IsOpenLoop() {
		return 0, false
	}
	return wait, false
}

// Rate implements vegeta.Pacer; Attack does not call it.
func (c *vegetaTransport) Rate(time.Duration) float64 { return c.Phase.Rate }

// updateHit modifies a pending hit.
func (c *vegetaTransport) updateHit(seq uint64, change func(*history.Hit)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.pending[seq]
	change(&h)
	c.pending[seq] = h
}

// takeHit removes and returns a pending hit.
func (c *vegetaTransport) takeHit(seq uint64) history.Hit {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.pending[seq]
	delete(c.pending, seq)
	return h
}

// RoundTrip implements http.RoundTripper.
func (c *vegetaTransport) RoundTrip(blank *http.Request) (*http.Response, error) {
	seq, err := strconv.ParseUint(blank.Header.Get("X-Vegeta-Seq"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("parse vegeta's request number: %w", err)
	}
	c.updateHit(seq, func(h *history.Hit) {
		c.inFlight++
		h.InFlight = c.inFlight
	})
	defer func() {
		c.mu.Lock()
		c.inFlight--
		c.mu.Unlock()
	}()
	req, client, err := c.buildRequest(blank.Context(), seq)
	if err != nil {
		return nil, err
	}
	return client.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), c.clientTrace(seq))))
}

func (c *vegetaTransport) buildRequest(ctx context.Context, seq uint64) (*http.Request, *http.Transport, error) {
	planned := c.Request(int(seq))
	port := strconv.Itoa(planned.Port)
	at, host := "http://", cmp.Or(planned.Header["Host"], net.JoinHostPort(c.DefaultHost, port))
	name := ""
	if planned.TLS {
		at = "https://"
		name, _, _ = strings.Cut(host, ":")
	}
	at += net.JoinHostPort(c.balancerAddr(), port) + planned.Path
	req, err := http.NewRequestWithContext(ctx, planned.Method, at, bytes.NewReader(planned.Body))
	if err != nil {
		return nil, nil, fmt.Errorf("create request: %w", err)
	}
	if len(planned.Body) == 0 {
		req.Body, req.GetBody = emptyBody{}, nil // otherwise net/http would retry a GET by itself
	}
	for name, value := range planned.Header {
		req.Header.Set(name, value)
	}
	req.Host = host
	if key := c.Key(int(seq)); key != "" && c.Keys.Header != "" {
		req.Header.Set(c.Keys.Header, key)
	}
	req.Close = c.NewConnections
	req.Header.Set(history.IDHeader, strconv.FormatUint(c.FirstSeq+seq, 10))
	return req, c.clientFor(name), nil
}

// clientTrace records a hit's connection and the time it took to open.
func (c *vegetaTransport) clientTrace(seq uint64) *httptrace.ClientTrace {
	var dialStart, tlsStart time.Time
	return &httptrace.ClientTrace{
		ConnectStart: func(string, string) { dialStart = time.Now() },
		ConnectDone: func(string, string, error) {
			c.updateHit(seq, func(h *history.Hit) { h.ConnectTime = time.Since(dialStart) })
		},
		TLSHandshakeStart: func() { tlsStart = time.Now() },
		TLSHandshakeDone: func(state tls.ConnectionState, _ error) {
			c.updateHit(seq, func(h *history.Hit) {
				h.HandshakeTime, h.Resumed = time.Since(tlsStart), state.DidResume
			})
		},
		GotConn: func(info httptrace.GotConnInfo) {
			c.updateHit(seq, func(h *history.Hit) {
				if _, known := c.conns[info.Conn]; !known {
					c.conns[info.Conn] = len(c.conns) + 1
				}
				h.Conn = c.conns[info.Conn]
			})
		},
	}
}

// clientFor returns the HTTP client for a server name (SNI): plain sockets, keep-alive, one per request in flight,
// closed when ctx ends.
func (c *vegetaTransport) clientFor(name string) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	client, ok := c.clients[name]
	if !ok {
		config := c.tlsConfigFor(name)
		if !c.FullHandshakes {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		}
		client = &http.Transport{
			DialContext: c.dial, TLSClientConfig: config, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: c.Concurrency, DisableCompression: true,
		}
		c.clients[name] = client
	}
	return client
}

func (c *vegetaTransport) dial(dialing context.Context, _, addr string) (net.Conn, error) {
	dialing, cancel := context.WithTimeout(dialing, c.Timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	to, err := (&resolver{host: host}).lookup(dialing)
	if err != nil {
		return nil, err
	}
	conn, err := dialFrom(dialing, netip.Addr{}, netip.AddrPortFrom(to, uint16(number)))
	if err != nil {
		return nil, err
	}
	return &abortableConn{conn, context.AfterFunc(c.ctx, func() { conn.Close() })}, nil
}

func (c *vegetaTransport) close() {
	for _, client := range c.clients {
		client.CloseIdleConnections()
	}
}

// abortableConn is a connection that is closed by a context unless Close comes first.
type abortableConn struct {
	net.Conn
	stopWatch func() bool
}

func (s *abortableConn) Close() error {
	s.stopWatch()
	return s.Conn.Close()
}

// emptyBody is an empty body that cannot be sent twice.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }

func (emptyBody) Close() error { return nil }

// classifyText classifies a failure by its text, which is all that vegeta reports.
func classifyText(text string) history.Err {
	for _, k := range []struct {
		kind  history.Err
		texts []string
	}{
		{history.Tester, []string{
			"too many open files", "cannot assign requested address", "context canceled",
			"operation was canceled", "use of closed network connection", "vegeta",
		}},
		{history.Refused, []string{"connection refused"}},
		{history.Reset, []string{"connection reset", "broken pipe", "stream error", "GOAWAY"}},
		{history.Timeout, []string{"deadline exceeded", "Client.Timeout", "i/o timeout", "connection timed out"}},
		{history.DNS, []string{"no such host", "server misbehaving"}},
		{history.HandshakeFailed, []string{"tls:", "x509:"}},
		{history.Malformed, []string{"malformed HTTP", "malformed MIME"}},
		{history.Truncated, []string{"unexpected EOF"}},
		{history.Closed, []string{"EOF", "server closed idle connection"}},
	} {
		for _, t := range k.texts {
			if strings.Contains(text, t) {
				return k.kind
			}
		}
	}
	return history.Other
}
