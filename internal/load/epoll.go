package load

import (
	"context"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lbproof/lbproof/internal/history"
	"github.com/lbproof/lbproof/internal/plan"
)

// epollEngine sends plain HTTP/1.1 from a single thread over non-blocking sockets: a few hundred bytes per connection,
// no goroutines. It serves thousands of connections, and open loops that must be cheap.
type epollEngine struct{}

// epollLoop is one phase being sent. All its state belongs to one goroutine.
type epollLoop struct {
	*Phase
	ctx       context.Context
	templates *requestTemplates
	resolver  *resolver
	schedule  *schedule
	emit      func(history.Hit)

	epoll     int
	sockets   []*socket   // indexed by socket.slot, which epoll events carry
	freeSlots []int       // unused indexes of sockets
	idle      [][]*socket // per client
	names     map[string]string
	dialCount int
	inFlight  int
	thinkEnds []time.Duration // when each thinking client continues, ascending
	recvBuf   []byte
	sendBuf   []byte
	lastSweep time.Duration
}

// socket is one connection.
type socket struct {
	fd        int
	slot      int
	number    int // distinguishes its events from those of the slot's previous connection
	client    int
	port      int
	dialStart time.Duration // when the connect started; 0 once connected
	busy      bool
	closed    bool
	unsent    []byte // rest of the request
	response  response
	hit       history.Hit
	deadline  time.Duration
}

const (
	sweepEvery = 50 * time.Millisecond
	maxEvents  = 256
)

// Send implements Engine.
func (epollEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	runtime.LockOSThread() // timer slack is a property of the thread
	defer runtime.UnlockOSThread()
	l := &epollLoop{
		Phase: &p, ctx: ctx, templates: newTemplates(&p), resolver: &resolver{host: p.balancerAddr()}, emit: emit,
		idle: make([][]*socket, max(1, p.Clients.Count)), names: map[string]string{}, recvBuf: make([]byte, 64<<10),
	}
	slack, _, _ := unix.Syscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	if p.PreciseTiming {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // if it fails, the measured lag shows it
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) }()
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		l.schedule = newSchedule(&p)
		for l.schedule.hasMore() {
			l.failNext(err)
		}
		return
	}
	defer unix.Close(l.epoll)
	l.schedule = newSchedule(&p)
	l.run()
	for _, s := range l.sockets {
		if !s.closed {
			l.closeConn(s)
		}
	}
}

// run returns when every request has completed or failed, or ctx ends.
func (l *epollLoop) run() {
	events := make([]unix.EpollEvent, maxEvents)
	for {
		l.startDue()
		if l.ctx.Err() != nil {
			l.abortAll()
			return
		}
		if l.inFlight == 0 && !l.schedule.hasMore() {
			return
		}
		n := l.wait(events)
		for i := range n {
			e := &events[i]
			if s := l.sockets[e.Fd]; int32(s.number) == e.Pad && !s.closed {
				l.handleEvent(s, e.Events)
				l.startDue()
			}
		}
		if now := l.now(); now-l.lastSweep > sweepEvery {
			l.lastSweep = now
			l.expireOverdue(now)
		}
	}
}

// startDue starts every request that is due.
func (l *epollLoop) startDue() {
	for l.inFlight+len(l.thinkEnds) < l.Concurrency && l.schedule.hasMore() && l.ctx.Err() == nil {
		if l.IsOpenLoop() && l.nextDue() > l.now() {
			return
		}
		l.startRequest()
	}
	for len(l.thinkEnds) > 0 && l.thinkEnds[0] <= l.now() {
		l.thinkEnds = l.thinkEnds[1:]
		if !l.schedule.hasMore() {
			continue
		}
		l.startRequest()
	}
}

// nextDue returns the latest start of the next request: within a burst, it waits for the previous response.
func (l *epollLoop) nextDue() time.Duration {
	if l.inFlight > 0 && l.schedule.inBurst() {
		return l.schedule.due + plan.BurstTimeout
	}
	return l.schedule.due
}

// wait blocks until an event, the next due request, or the next sweep.
func (l *epollLoop) wait(events []unix.EpollEvent) int {
	now := l.now()
	until := now + sweepEvery
	if l.IsOpenLoop() && l.inFlight < l.Concurrency && l.schedule.hasMore() {
		until = min(until, l.nextDue())
	}
	if len(l.thinkEnds) > 0 {
		until = min(until, l.thinkEnds[0])
	}
	left := max(0, until-now)
	if l.PreciseTiming {
		return l.waitExactly(events, left)
	}
	n, _ := unix.EpollWait(l.epoll, events, int((left+time.Millisecond-1)/time.Millisecond))
	return max(0, n)
}

// waitExactly calls epoll_pwait2, whose timeout has nanosecond resolution.
func (l *epollLoop) waitExactly(events []unix.EpollEvent, left time.Duration) int {
	ts := unix.NsecToTimespec(int64(left))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// startRequest sends the next request, on an idle connection of its client if there is one.
func (l *epollLoop) startRequest() {
	i, due := l.schedule.pop()
	h := l.newHit(i, due)
	l.inFlight++
	h.InFlight = l.inFlight
	tmpl := l.templates.template(i)
	s := l.idleConn(h.Client, tmpl.request.Port)
	if s == nil {
		var err error
		if s, err = l.dial(h.Client, tmpl.request.Port); err != nil {
			h.Err = classify(err)
			l.finish(&h)
			return
		}
	}
	h.Conn = s.number
	s.hit, s.deadline, s.busy = h, h.Sent+l.Timeout, true
	s.response.reset(tmpl.request.Method == http.MethodHead)
	if s.dialStart == 0 {
		l.write(s)
	}
}

// failNext records the next request as failed without sending it.
func (l *epollLoop) failNext(err error) {
	i, due := l.schedule.pop()
	h := l.newHit(i, due)
	l.inFlight++
	h.Err = classify(err)
	l.finish(&h)
}

// finish completes a hit and emits it.
func (l *epollLoop) finish(h *history.Hit) {
	l.inFlight--
	h.Done = l.now()
	if h.Err != "" && l.ctx.Err() != nil {
		h.Err = history.Tester // cancelled by the sender, whatever the error looks like
	}
	if l.ThinkTime > 0 {
		l.thinkEnds = append(l.thinkEnds, h.Done+l.ThinkTime)
	}
	l.emit(*h)
}

// idleConn returns the client's most recently used connection to port, or nil.
func (l *epollLoop) idleConn(client, port int) *socket {
	for n := len(l.idle[client]) - 1; n >= 0; n-- {
		s := l.idle[client][n]
		if s.port != port && !s.closed {
			continue
		}
		l.idle[client] = slices.Delete(l.idle[client], n, n+1)
		if !s.closed {
			return s
		}
	}
	return nil
}

// dial starts a connection.
func (l *epollLoop) dial(client, port int) (*socket, error) {
	to, err := l.resolver.lookup(l.ctx)
	if err != nil {
		return nil, err
	}
	began := max(1, l.now())
	fd, connected, err := connect(l.sourceAddr(client), netip.AddrPortFrom(to, uint16(port)))
	if err != nil {
		return nil, err
	}
	l.dialCount++
	s := &socket{
		fd: fd, number: l.dialCount, client: client, port: port, dialStart: began,
		response: response{serverNames: l.names},
	}
	l.assignSlot(s)
	if connected {
		s.dialStart = 0
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(s.slot), Pad: int32(s.number),
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.closeConn(s)
		return nil, err
	}
	return s, nil
}

// assignSlot assigns the slot by which events refer to the connection.
func (l *epollLoop) assignSlot(s *socket) {
	if n := len(l.freeSlots); n > 0 {
		s.slot = l.freeSlots[n-1]
		l.freeSlots = l.freeSlots[:n-1]
		l.sockets[s.slot] = s
		return
	}
	s.slot = len(l.sockets)
	l.sockets = append(l.sockets, s)
}

// connect opens a non-blocking socket.
func connect(from netip.Addr, to netip.AddrPort) (fd int, connected bool, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if from.IsValid() {
		// Choose the port at connect, so that each destination has its own port range.
		_ = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()})
	}
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		connected = err == nil
	}
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return 0, false, err
	}
	return fd, connected, nil
}

// handleEvent handles an epoll event.
func (l *epollLoop) handleEvent(s *socket, what uint32) {
	if s.dialStart > 0 {
		if what&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
			return
		}
		if code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			l.failConn(s, syscall.Errno(code))
			return
		}
		s.hit.ConnectTime, s.dialStart = l.now()-s.dialStart, 0
		l.write(s)
	} else if what&unix.EPOLLOUT != 0 && len(s.unsent) > 0 {
		l.push(s, s.unsent)
	}
	if what&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 && !s.closed {
		l.read(s, what&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

// write sends the request of the connection's hit.
func (l *epollLoop) write(s *socket) {
	l.sendBuf = l.templates.write(l.sendBuf[:0], s.hit.Index, s.hit.Seq)
	l.push(s, l.sendBuf)
}

// push writes as much as the kernel accepts and stores the rest in s.unsent.
func (l *epollLoop) push(s *socket, p []byte) {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case errno == 0:
			p = p[n:]
			continue
		case errno == unix.EINTR:
			continue
		case errno != unix.EAGAIN:
			l.writeFailed(s, errno)
			return
		}
		break
	}
	s.unsent = append(s.unsent[:0], p...)
}

// writeFailed handles a connection that accepts no more of the request; the response may have arrived before.
func (l *epollLoop) writeFailed(s *socket, errno syscall.Errno) {
	s.unsent = nil
	l.read(s, true)
	if !s.closed {
		l.failConn(s, errno)
	}
}

// read reads what has arrived. last: nothing will follow.
func (l *epollLoop) read(s *socket, last bool) {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(s.fd),
			uintptr(unsafe.Pointer(&l.recvBuf[0])), uintptr(len(l.recvBuf)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.failConn(s, errno)
			return
		case n == 0:
			l.peerClosed(s)
			return
		case !s.busy:
			l.closeConn(s) // data without a request
			return
		}
		used, err := s.response.feed(l.recvBuf[:n])
		if err != nil || used < int(n) {
			s.hit.Err = history.Malformed
		}
		if s.hit.Err != "" || s.response.done() {
			l.complete(s, last)
			return
		}
		if int(n) < len(l.recvBuf) && !last {
			return // all there was; epoll reports more
		}
	}
}

// peerClosed handles a connection closed by the peer.
func (l *epollLoop) peerClosed(s *socket) {
	if !s.busy {
		l.closeConn(s)
		return
	}
	s.hit.Err = s.response.handleEOF()
	l.complete(s, true)
}

// complete finishes a hit whose response is complete, or will not continue.
func (l *epollLoop) complete(s *socket, last bool) {
	s.response.fillHit(&s.hit)
	l.templates.storeCookies(s.hit.Index, s.response.cookies)
	s.busy = false
	ends := last || s.response.closeAfter || l.NewConnections
	if broken := s.hit.Err != "" || len(s.unsent) > 0; broken || ends {
		l.closeConn(s)
	} else {
		l.idle[s.client] = append(l.idle[s.client], s)
	}
	l.finish(&s.hit)
}

// failConn closes a failed connection.
func (l *epollLoop) failConn(s *socket, err error) {
	if !s.busy {
		l.closeConn(s)
		return
	}
	s.busy = false
	s.response.fillHit(&s.hit)
	s.hit.Err = classify(err)
	l.closeConn(s)
	l.finish(&s.hit)
}

// closeConn closes a connection and frees its slot.
func (l *epollLoop) closeConn(s *socket) {
	unix.Close(s.fd)
	s.closed, s.unsent = true, nil
	l.freeSlots = append(l.freeSlots, s.slot)
}

// expireOverdue fails every request past its deadline.
func (l *epollLoop) expireOverdue(now time.Duration) {
	for _, s := range l.sockets {
		if s.busy && s.deadline < now {
			l.failConn(s, unix.ETIMEDOUT)
		}
	}
}

// abortAll fails every request in flight.
func (l *epollLoop) abortAll() {
	for _, s := range l.sockets {
		if s.busy {
			l.failConn(s, errAborted)
		}
	}
}
