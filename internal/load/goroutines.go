package load

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
	"github.com/lbproof/lbproof/internal/sleep"
)

// goroutineEngine sends HTTP/1.1, plain and TLS, with one goroutine per request in flight on Go's own connections.
type goroutineEngine struct{}

// senderPool is one phase being sent.
type senderPool struct {
	*Phase
	ctx       context.Context
	templates *requestTemplates
	resolver  *resolver
	sessions  tls.ClientSessionCache

	turnMu    sync.Mutex // held while taking the next request; in an open loop, until it is due
	schedule  *schedule
	waiting   atomic.Int64 // senders waiting for turnMu
	inFlight  atomic.Int64
	dialCount atomic.Int64

	mu      sync.Mutex
	senders []*sender
	idle    [][]*clientConn // per client
	emit    func(history.Hit)
	running sync.WaitGroup
}

// Send implements Engine.
func (goroutineEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &senderPool{
		Phase: &p, ctx: ctx, templates: newTemplates(&p), resolver: &resolver{host: p.balancerAddr()},
		schedule: newSchedule(&p),
		sessions: tls.NewLRUClientSessionCache(0), idle: make([][]*clientConn, max(1, p.Clients.Count)), emit: emit,
	}
	begin := 1 // in an open loop; more are added on demand
	if !p.IsOpenLoop() {
		begin = min(p.Concurrency, p.Count)
	}
	for range begin {
		c.addSender(begin)
	}
	stop := make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() { c.expireOverdue(stop) })
	c.running.Wait()
	close(stop)
	sweeping.Wait()
	for _, lines := range c.idle {
		for _, l := range lines {
			l.Close()
		}
	}
}

// addSender adds a sender unless the pool has most of them.
func (c *senderPool) addSender(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.senders) >= most {
		return
	}
	s := &sender{senderPool: c, recvBuf: make([]byte, 8<<10), response: response{serverNames: map[string]string{}}}
	c.senders = append(c.senders, s)
	c.running.Go(s.work)
}

// nextRequest blocks until the next request is due, while other senders queue behind it.
func (c *senderPool) nextRequest() (i int, due time.Duration, flight int, ok bool) {
	c.waiting.Add(1)
	c.turnMu.Lock()
	defer c.turnMu.Unlock()
	c.waiting.Add(-1)
	if !c.schedule.hasMore() || c.ctx.Err() != nil {
		return 0, 0, 0, false
	}
	if c.IsOpenLoop() && !c.sleepUntil(c.schedule.due) || !c.schedule.hasMore() {
		return 0, 0, 0, false
	}
	for c.IsOpenLoop() && c.schedule.inBurst() && c.inFlight.Load() > 0 {
		if c.now() >= c.schedule.due+plan.BurstTimeout || c.ctx.Err() != nil {
			break
		}
		sleep.For(c.ctx, burstPoll)
	}
	i, due = c.schedule.pop()
	return i, due, int(c.inFlight.Add(1)), true
}

// burstPoll is the interval for checking whether the previous request of a burst has completed.
const burstPoll = 200 * time.Microsecond

// sleepUntil reports false if ctx ended first. Go's timers have millisecond resolution; Precise uses nanosleep.
func (c *senderPool) sleepUntil(due time.Duration) bool {
	const coarse = 1500 * time.Microsecond
	wait := due - c.now()
	if c.PreciseTiming {
		wait -= coarse
	}
	sleep.For(c.ctx, wait)
	if c.ctx.Err() != nil {
		return false
	}
	if wait = due - c.now(); c.PreciseTiming && wait > 0 {
		ts := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&ts, nil) // if interrupted, it wakes by less too early than it would be late
	}
	return true
}

// expireOverdue interrupts requests past their deadline, and all of them once ctx ends.
func (c *senderPool) expireOverdue(stop chan struct{}) {
	tick := time.NewTicker(min(50*time.Millisecond, max(time.Millisecond, c.Timeout/10)))
	defer tick.Stop()
	done := c.ctx.Done()
	for {
		select {
		case <-stop:
			return
		case <-done:
			done = nil
		case <-tick.C:
		}
		now := c.now()
		c.mu.Lock()
		for _, s := range c.senders {
			if until := s.deadline.Load(); until != 0 && (time.Duration(until) < now || c.ctx.Err() != nil) {
				if l := s.current.Load(); l != nil {
					_ = l.SetDeadline(time.Unix(1, 0)) // wakes the reader, which checks the deadline
				}
			}
		}
		c.mu.Unlock()
	}
}

// clientConn is a connection.
type clientConn struct {
	net.Conn
	number     int
	client     int
	tls        bool
	port       int
	serverName string // for SNI
	lastUsed   time.Duration
}

// sender is one goroutine of the pool.
type sender struct {
	*senderPool
	current  atomic.Pointer[clientConn]
	deadline atomic.Int64 // of the current request; 0 if none
	response response
	recvBuf  []byte
	sendBuf  []byte
}

func (s *sender) work() {
	for {
		i, due, flight, ok := s.nextRequest()
		if !ok {
			break
		}
		if s.IsOpenLoop() && s.waiting.Load() == 0 {
			s.addSender(s.Concurrency) // somebody must be ready for the next request
		}
		h := s.exchange(i, due, flight)
		s.mu.Lock()
		s.emit(h)
		s.mu.Unlock()
		sleep.For(s.ctx, s.ThinkTime)
	}
	if l := s.current.Load(); l != nil {
		l.Close()
	}
}

// exchange sends request number i and reads its response.
func (s *sender) exchange(i int, due time.Duration, flight int) history.Hit {
	defer s.inFlight.Add(-1)
	h := s.newHit(i, due)
	h.InFlight = flight
	deadline := h.Sent + s.Timeout
	l, err := s.acquireConn(i, deadline, &h)
	if err == nil {
		s.deadline.Store(int64(deadline))
		s.response.reset(s.templates.template(i).request.Method == http.MethodHead)
		s.sendBuf = s.templates.write(s.sendBuf[:0], i, h.Seq)
		err = s.write(l, deadline)
		if err == nil || s.ctx.Err() == nil { // a server that rejects a body may have responded before its end
			err = s.receive(l, deadline, err, &h)
		}
		s.deadline.Store(0)
	}
	h.Done = s.now()
	if err != nil && h.Err == "" {
		h.Err = classify(err)
	}
	if h.Err != "" && s.ctx.Err() != nil {
		h.Err = history.Tester // cancelled by the sender, whatever the error looks like
	}
	if l == nil {
		return h
	}
	switch l.lastUsed = h.Done; {
	case h.Err != "" || s.response.closeAfter || s.NewConnections:
		s.current.Store(nil)
		l.Close()
	case s.Clients.Count > 1: // another sender may get the client's next request
		s.current.Store(nil)
		s.mu.Lock()
		s.idle[l.client] = append(s.idle[l.client], l)
		s.mu.Unlock()
	}
	return h
}

// wokenEarly reports whether the connection was interrupted for the previous request; if so, it resets the deadline.
func (s *sender) wokenEarly(l *clientConn, err error, deadline time.Duration) bool {
	if classify(err) != history.Timeout || s.now() >= deadline || s.ctx.Err() != nil {
		return false
	}
	_ = l.SetDeadline(time.Time{})
	return true
}

// write sends s.sendBuf.
func (s *sender) write(l *clientConn, deadline time.Duration) error {
	for left := s.sendBuf; len(left) > 0; {
		n, err := l.Write(left)
		if left = left[n:]; err != nil && !s.wokenEarly(l, err, deadline) {
			return err
		}
	}
	return nil
}

// receive reads until the response is complete. failed is the error of writing the request, if any.
func (s *sender) receive(l *clientConn, deadline time.Duration, failed error, h *history.Hit) error {
	a, err := &s.response, failed
	for !a.done() {
		n, readErr := l.Read(s.recvBuf)
		used, invalid := a.feed(s.recvBuf[:n])
		if invalid != nil || used < n {
			h.Err = history.Malformed
			break
		}
		if readErr == nil || s.wokenEarly(l, readErr, deadline) {
			continue
		}
		if err = readErr; readErr == io.EOF {
			if h.Err, err = a.handleEOF(), failed; h.Err == "" {
				err = nil
			}
		}
		break
	}
	if a.done() {
		err = nil
	}
	a.fillHit(h)
	s.templates.storeCookies(h.Index, a.cookies)
	return err
}

// fillHit copies the response's numbers into the hit.
func (a *response) fillHit(h *history.Hit) {
	h.Code, h.Server, h.Size, h.Checksum = a.code, a.server, a.size, a.sum
	if h.Err == "" && a.done() && a.isShort() {
		h.Err = history.Truncated
	}
}

// acquireConn returns a connection for request number i: the sender's own if it fits, an idle one, or a new one.
func (s *sender) acquireConn(i int, deadline time.Duration, h *history.Hit) (*clientConn, error) {
	tmpl := s.templates.template(i)
	fits := func(l *clientConn) bool {
		there := l.port == tmpl.request.Port && l.tls == tmpl.request.TLS && l.serverName == tmpl.serverName
		return there && l.client == h.Client
	}
	own := s.current.Load()
	if own == nil || !fits(own) {
		own = s.swapConn(own, h.Client, fits)
	}
	if own != nil && s.now()-own.lastUsed > idleCheckAge && isPeerClosed(own.Conn) {
		own.Close()
		own = nil
	}
	if own == nil {
		var err error
		if own, err = s.dial(tmpl, deadline, h); err != nil {
			s.current.Store(nil)
			return nil, err
		}
	}
	s.current.Store(own)
	h.Conn = own.number
	return own, nil
}

// idleCheckAge is the idle time after which a connection is checked before reuse, which costs a system call.
const idleCheckAge = time.Millisecond

// swapConn returns the sender's connection to the idle ones and takes one of the client's from there.
func (s *sender) swapConn(own *clientConn, client int, fits func(*clientConn) bool) *clientConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own != nil {
		s.idle[own.client] = append(s.idle[own.client], own)
	}
	lines := s.idle[client]
	for n := len(lines) - 1; n >= 0; n-- {
		if l := lines[n]; fits(l) {
			s.idle[client] = append(lines[:n], lines[n+1:]...)
			return l
		}
	}
	return nil
}

// isPeerClosed reports whether the peer has closed an idle connection, or sent data on it.
func isPeerClosed(conn net.Conn) bool {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		ended = err != unix.EAGAIN
		return true
	})
	return ended || err != nil
}

// dial opens a connection and records how long that took.
func (s *sender) dial(tmpl *requestTemplate, deadline time.Duration, h *history.Hit) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, deadline-s.now())
	defer cancel()
	to, err := s.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	began := s.now()
	conn, err := dialFrom(ctx, s.sourceAddr(h.Client), netip.AddrPortFrom(to, uint16(tmpl.request.Port)))
	if err != nil {
		return nil, err
	}
	h.ConnectTime = s.now() - began
	l := &clientConn{
		Conn: conn, number: int(s.dialCount.Add(1)), client: h.Client,
		tls: tmpl.request.TLS, port: tmpl.request.Port, serverName: tmpl.serverName,
	}
	h.Conn = l.number
	if !l.tls {
		return l, nil
	}
	began = s.now()
	tlsConn := tls.Client(conn, s.tlsConfig(l.serverName))
	if err := tlsConn.HandshakeContext(ctx); err != nil {
		conn.Close()
		if kind := classify(err); kind == history.Other || kind == history.Closed {
			h.Err = history.HandshakeFailed
		}
		return nil, err
	}
	h.HandshakeTime, h.Resumed = s.now()-began, tlsConn.ConnectionState().DidResume
	l.Conn = tlsConn
	return l, nil
}

// tlsConfig returns the TLS configuration of a connection with that server name.
func (c *senderPool) tlsConfig(name string) *tls.Config {
	config := c.tlsConfigFor(name)
	config.NextProtos = []string{"http/1.1"}
	if !c.FullHandshakes {
		config.ClientSessionCache = c.sessions
	}
	return config
}

// dialFrom connects from an address, or from any if it is invalid. The kernel chooses the port at connect, so that
// connections to several destinations, or from several addresses, do not share one port range.
func dialFrom(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		d.Control = func(_, _ string, raw syscall.RawConn) error {
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			if err == nil {
				err = failed
			}
			return err
		}
	}
	return d.DialContext(ctx, "tcp4", to.String())
}
