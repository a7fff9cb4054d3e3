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

// crowd is a phase that the engine sends.
type crowd struct {
	*Phase
	ctx      context.Context
	letters  *letters
	resolver *resolver
	sessions tls.ClientSessionCache

	turn    sync.Mutex // held by who takes the next request, in an open loop until that is due
	table   *timetable
	waiting atomic.Int64 // for their turn
	flight  atomic.Int64
	dialled atomic.Int64

	mu     sync.Mutex
	all    []*sender
	idle   [][]*line // by client
	emit   func(history.Hit)
	within sync.WaitGroup
}

// Send is Engine's.
func (goroutineEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	c := &crowd{
		Phase: &p, ctx: ctx, letters: newLetters(&p), resolver: &resolver{host: p.at()}, table: newTimetable(&p),
		sessions: tls.NewLRUClientSessionCache(0), idle: make([][]*line, max(1, p.Clients.Count)), emit: emit,
	}
	begin := 1 // in an open loop; others come when they are needed
	if !p.Open() {
		begin = min(p.Concurrency, p.Count)
	}
	for range begin {
		c.join(begin)
	}
	stop := make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() { c.sweep(stop) })
	c.within.Wait()
	close(stop)
	sweeping.Wait()
	for _, lines := range c.idle {
		for _, l := range lines {
			l.Close()
		}
	}
}

// join adds a sender, unless there are as many as may be.
func (c *crowd) join(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) >= most {
		return
	}
	s := &sender{crowd: c, buf: make([]byte, 8<<10), answer: answer{names: map[string]string{}}}
	c.all = append(c.all, s)
	c.within.Go(s.work)
}

// next waits until the next request is due, and lets the others wait meanwhile.
func (c *crowd) next() (i int, due time.Duration, flight int, ok bool) {
	c.waiting.Add(1)
	c.turn.Lock()
	defer c.turn.Unlock()
	c.waiting.Add(-1)
	if !c.table.more() || c.ctx.Err() != nil {
		return 0, 0, 0, false
	}
	if c.Open() && !c.sleepUntil(c.table.due) || !c.table.more() {
		return 0, 0, 0, false
	}
	for c.Open() && c.table.inRow() && c.flight.Load() > 0 {
		if c.now() >= c.table.due+plan.RowPatience || c.ctx.Err() != nil {
			break
		}
		sleep.For(c.ctx, rowLook)
	}
	i, due = c.table.take()
	return i, due, int(c.flight.Add(1)), true
}

// rowLook is how often a request looks whether the one before it in its row has been answered.
const rowLook = 200 * time.Microsecond

// sleepUntil is false where ctx ended first. Go's timers are a millisecond coarse; precision is the kernel's own clock.
func (c *crowd) sleepUntil(due time.Duration) bool {
	const coarse = 1500 * time.Microsecond
	wait := due - c.now()
	if c.Precise {
		wait -= coarse
	}
	sleep.For(c.ctx, wait)
	if c.ctx.Err() != nil {
		return false
	}
	if wait = due - c.now(); c.Precise && wait > 0 {
		ts := unix.NsecToTimespec(int64(wait))
		_ = unix.Nanosleep(&ts, nil) // woken early it is early by less than it was ever late
	}
	return true
}

// sweep ends what has taken too long, and everything when ctx ends.
func (c *crowd) sweep(stop chan struct{}) {
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
		for _, s := range c.all {
			if until := s.until.Load(); until != 0 && (time.Duration(until) < now || c.ctx.Err() != nil) {
				if l := s.line.Load(); l != nil {
					_ = l.SetDeadline(time.Unix(1, 0)) // wakes its reader, who looks at the clock
				}
			}
		}
		c.mu.Unlock()
	}
}

// line is a connection.
type line struct {
	net.Conn
	number int
	client int
	tls    bool
	port   int
	name   string // asked for in the handshake
	used   time.Duration
}

// sender is one goroutine of the crowd.
type sender struct {
	*crowd
	line   atomic.Pointer[line]
	until  atomic.Int64 // when the exchange under way has taken too long; 0 where there is none
	answer answer
	buf    []byte
	out    []byte
}

func (s *sender) work() {
	for {
		i, due, flight, ok := s.next()
		if !ok {
			break
		}
		if s.Open() && s.waiting.Load() == 0 {
			s.join(s.Concurrency) // someone must be there for the request after this one
		}
		h := s.exchange(i, due, flight)
		s.mu.Lock()
		s.emit(h)
		s.mu.Unlock()
		sleep.For(s.ctx, s.Think)
	}
	if l := s.line.Load(); l != nil {
		l.Close()
	}
}

// exchange sends request number i and reads its answer. With it so many are in flight.
func (s *sender) exchange(i int, due time.Duration, flight int) history.Hit {
	defer s.flight.Add(-1)
	h := s.hit(i, due)
	h.Flight = flight
	deadline := h.Sent + s.Timeout
	l, err := s.take(i, deadline, &h)
	if err == nil {
		s.until.Store(int64(deadline))
		s.answer.reset(s.letters.letter(i).request.Method == http.MethodHead)
		s.out = s.letters.write(s.out[:0], i, h.Seq)
		err = s.write(l, deadline)
		if err == nil || s.ctx.Err() == nil { // who refuses a body may have answered before
			err = s.receive(l, deadline, err, &h)
		}
		s.until.Store(0)
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
	switch l.used = h.Done; {
	case h.Err != "" || s.answer.close || s.Fresh:
		s.line.Store(nil)
		l.Close()
	case s.Clients.Count > 1: // another sender may have the client's next request
		s.line.Store(nil)
		s.mu.Lock()
		s.idle[l.client] = append(s.idle[l.client], l)
		s.mu.Unlock()
	}
	return h
}

// early says whether a connection was woken for the exchange before this one, and if so puts it right.
func (s *sender) early(l *line, err error, deadline time.Duration) bool {
	if classify(err) != history.Timeout || s.now() >= deadline || s.ctx.Err() != nil {
		return false
	}
	_ = l.SetDeadline(time.Time{})
	return true
}

// write sends what is in s.out.
func (s *sender) write(l *line, deadline time.Duration) error {
	for left := s.out; len(left) > 0; {
		n, err := l.Write(left)
		if left = left[n:]; err != nil && !s.early(l, err, deadline) {
			return err
		}
	}
	return nil
}

// receive reads until the answer is whole. failed is why it could not be written to its end.
func (s *sender) receive(l *line, deadline time.Duration, failed error, h *history.Hit) error {
	a, err := &s.answer, failed
	for !a.done() {
		n, reading := l.Read(s.buf)
		used, odd := a.feed(s.buf[:n])
		if odd != nil || used < n {
			h.Err = history.Garbage
			break
		}
		if reading == nil || s.early(l, reading, deadline) {
			continue
		}
		if err = reading; reading == io.EOF {
			if h.Err, err = a.end(), failed; h.Err == "" {
				err = nil
			}
		}
		break
	}
	if a.done() {
		err = nil
	}
	a.report(h)
	s.letters.keep(h.Index, a.cookies)
	return err
}

// report fills in what the answer was.
func (a *answer) report(h *history.Hit) {
	h.Code, h.Server, h.Size, h.Sum = a.code, a.server, a.size, a.sum
	if h.Err == "" && a.done() && a.short() {
		h.Err = history.Truncated
	}
}

// take gives a connection for request number i: the sender's own if it fits, one that is idle, or a new one.
func (s *sender) take(i int, deadline time.Duration, h *history.Hit) (*line, error) {
	want := s.letters.letter(i)
	fits := func(l *line) bool {
		there := l.port == want.request.Port && l.tls == want.request.TLS && l.name == want.name
		return there && l.client == h.Client
	}
	own := s.line.Load()
	if own == nil || !fits(own) {
		own = s.swap(own, h.Client, fits)
	}
	if own != nil && s.now()-own.used > atRest && gone(own.Conn) {
		own.Close()
		own = nil
	}
	if own == nil {
		var err error
		if own, err = s.dial(want, deadline, h); err != nil {
			s.line.Store(nil)
			return nil, err
		}
	}
	s.line.Store(own)
	h.Conn = own.number
	return own, nil
}

// atRest is how long a connection may rest until it is looked at before its next use, which costs a system call.
const atRest = time.Millisecond

// swap gives the sender's connection to the idle ones, and takes one of the client's from there.
func (s *sender) swap(own *line, client int, fits func(*line) bool) *line {
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

// gone says whether the other side has ended a connection that nobody reads, or said something on it.
func gone(conn net.Conn) bool {
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
func (s *sender) dial(want *letter, deadline time.Duration, h *history.Hit) (*line, error) {
	ctx, cancel := context.WithTimeout(s.ctx, deadline-s.now())
	defer cancel()
	to, err := s.resolver.lookup(ctx)
	if err != nil {
		return nil, err
	}
	began := s.now()
	conn, err := dialFrom(ctx, s.from(h.Client), netip.AddrPortFrom(to, uint16(want.request.Port)))
	if err != nil {
		return nil, err
	}
	h.Connect = s.now() - began
	l := &line{
		Conn: conn, number: int(s.dialled.Add(1)), client: h.Client,
		tls: want.request.TLS, port: want.request.Port, name: want.name,
	}
	h.Conn = l.number
	if !l.tls {
		return l, nil
	}
	began = s.now()
	shaken := tls.Client(conn, s.tlsConfig(l.name))
	if err := shaken.HandshakeContext(ctx); err != nil {
		conn.Close()
		if kind := classify(err); kind == history.Other || kind == history.Closed {
			h.Err = history.Handshake
		}
		return nil, err
	}
	h.Handshake, h.Resumed = s.now()-began, shaken.ConnectionState().DidResume
	l.Conn = shaken
	return l, nil
}

// tlsConfig is what a connection asks for.
func (c *crowd) tlsConfig(name string) *tls.Config {
	config := c.secure(name)
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
