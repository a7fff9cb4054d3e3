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

// goroutineEngine sends HTTP/1.1 with one goroutine for each request in flight, on Go's own connections: plain text and TLS.
type goroutineEngine struct{}

// senderPool is a phase that the engine sends.
type senderPool struct {
	*Phase
	ctx       context.Context
	templates *requestTemplates
	resolver  *resolver
	sessions  tls.ClientSessionCache

	turnMu    sync.Mutex // held by who takes the next request, in an open loop until that is due
	schedule  *schedule
	waiting   atomic.Int64 // for their turn
	inFlight  atomic.Int64
	dialCount atomic.Int64

	mu      sync.Mutex
	senders []*sender
	idle    [][]*clientConn // by client
	emit    func(history.Hit)
	running sync.WaitGroup
}

// Send is Engine's.
func (goroutineEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &senderPool{
		Phase: &p, ctx: ctx, templates: newTemplates(&p), resolver: &resolver{host: p.balancerAddr()}, schedule: newSchedule(&p),
		sessions: tls.NewLRUClientSessionCache(0), idle: make([][]*clientConn, max(1, p.Clients.Count)), emit: emit,
	}
	begin := 1 // in an open loop; others come when they are needed
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

// addSender adds a sender, unless there are as many as may be.
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

// nextRequest waits until the next request is due, and lets the others wait meanwhile.
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

// burstPoll is how often a request looks whether the one before it in its row has been answered.
const burstPoll = 200 * time.Microsecond

// sleepUntil is false where ctx ended first. Go's timers are a millisecond coarse; precision is the kernel's own clock.
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
		_ = unix.Nanosleep(&ts, nil) // woken early it is early by less than it was ever late
	}
	return true
}

// expireOverdue ends what has taken too long, and everything when ctx ends.
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
					_ = l.SetDeadline(time.Unix(1, 0)) // wakes its reader, who looks at the clock
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
	serverName string // asked for in the handshake
	lastUsed   time.Duration
}

// sender is one goroutine of the crowd.
type sender struct {
	*senderPool
	current  atomic.Pointer[clientConn]
	deadline atomic.Int64 // when the exchange under way has taken too long; 0 where there is none
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
			s.addSender(s.Concurrency) // someone must be there for the request after this one
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

// exchange sends request number i and reads its answer. With it so many are in flight.
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
		if err == nil || s.ctx.Err() == nil { // who refuses a body may have answered before
			err = s.receive(l, deadline, err, &h)
		}
		s.deadline.Store(0)
	}
	h.Done = s.now()
	if err != nil && h.Err == "" {
		h.Err = classify(err)
	}
	if h.Err != "" && s.ctx.Err() != nil {
		h.Err = history.Tester // cut by us, whatever it looked like
	}
	if l == nil {
		return h
	}
	switch l.lastUsed = h.Done; {
	case h.Err != "" || s.response.closeAfter || s.NewConnections:
		s.current.Store(nil)
		l.Close()
	case s.Clients.Count > 1: // another sender may have the client's next request
		s.current.Store(nil)
		s.mu.Lock()
		s.idle[l.client] = append(s.idle[l.client], l)
		s.mu.Unlock()
	}
	return h
}

// wokenEarly says whether a connection was woken for the exchange before this one, and if so puts it right.
func (s *sender) wokenEarly(l *clientConn, err error, deadline time.Duration) bool {
	if classify(err) != history.Timeout || s.now() >= deadline || s.ctx.Err() != nil {
		return false
	}
	_ = l.SetDeadline(time.Time{})
	return true
}

// write sends what is in s.out.
func (s *sender) write(l *clientConn, deadline time.Duration) error {
	for left := s.sendBuf; len(left) > 0; {
		n, err := l.Write(left)
		if left = left[n:]; err != nil && !s.wokenEarly(l, err, deadline) {
			return err
		}
	}
	return nil
}

// receive reads until the answer is whole. failed is why it could not be written to its end.
func (s *sender) receive(l *clientConn, deadline time.Duration, failed error, h *history.Hit) error {
	a, err := &s.response, failed
	for !a.done() {
		n, reading := l.Read(s.recvBuf)
		used, odd := a.feed(s.recvBuf[:n])
		if odd != nil || used < n {
			h.Err = history.Malformed
			break
		}
		if reading == nil || s.wokenEarly(l, reading, deadline) {
			continue
		}
		if err = reading; reading == io.EOF {
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

// fillHit fills in what the answer was.
func (a *response) fillHit(h *history.Hit) {
	h.Code, h.Server, h.Size, h.Checksum = a.code, a.server, a.size, a.sum
	if h.Err == "" && a.done() && a.isShort() {
		h.Err = history.Truncated
	}
}

// acquireConn gives a connection for request number i: the sender's own if it fits, one that is idle, or a new one.
func (s *sender) acquireConn(i int, deadline time.Duration, h *history.Hit) (*clientConn, error) {
	want := s.templates.template(i)
	fits := func(l *clientConn) bool {
		there := l.port == want.request.Port && l.tls == want.request.TLS && l.serverName == want.serverName
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
		if own, err = s.dial(want, deadline, h); err != nil {
			s.current.Store(nil)
			return nil, err
		}
	}
	s.current.Store(own)
	h.Conn = own.number
	return own, nil
}

// idleCheckAge is how long a connection may rest until it is looked at before its next use, which costs a system call.
const idleCheckAge = time.Millisecond

// swapConn gives the sender's connection to the idle ones, and takes one of the client's from there.
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

// isPeerClosed says whether the other side has ended a connection that nobody reads, or said something on it.
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

// dial opens a connection, and times it.
func (s *sender) dial(want *requestTemplate, deadline time.Duration, h *history.Hit) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, deadline-s.now())
	defer cancel()
	to, err := s.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	began := s.now()
	conn, err := dialFrom(ctx, s.sourceAddr(h.Client), netip.AddrPortFrom(to, uint16(want.request.Port)))
	if err != nil {
		return nil, err
	}
	h.ConnectTime = s.now() - began
	l := &clientConn{
		Conn: conn, number: int(s.dialCount.Add(1)), client: h.Client,
		tls: want.request.TLS, port: want.request.Port, serverName: want.serverName,
	}
	h.Conn = l.number
	if !l.tls {
		return l, nil
	}
	began = s.now()
	shaken := tls.Client(conn, s.tlsConfig(l.serverName))
	if err := shaken.HandshakeContext(ctx); err != nil {
		conn.Close()
		if kind := classify(err); kind == history.Other || kind == history.Closed {
			h.Err = history.HandshakeFailed
		}
		return nil, err
	}
	h.HandshakeTime, h.Resumed = s.now()-began, shaken.ConnectionState().DidResume
	l.Conn = shaken
	return l, nil
}

// tlsConfig is what a connection asks for.
func (c *senderPool) tlsConfig(name string) *tls.Config {
	config := c.tlsConfigFor(name)
	config.NextProtos = []string{"http/1.1"}
	if !c.FullHandshakes {
		config.ClientSessionCache = c.sessions
	}
	return config
}

// dialFrom connects from an address, or from any where that is the zero value. The port is chosen with the destination in
// mind, so that connections to several destinations, or from several addresses, do not share one stock of ports.
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
