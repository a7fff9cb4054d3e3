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

// epollEngine sends HTTP/1.1 in plain text from one thread, over non-blocking sockets: some hundred bytes a connection, and
// no goroutine. It is for thousands of connections, and for open loops that must not cost much.
type epollEngine struct{}

// loop is a phase that the engine sends. Everything in it belongs to one goroutine.
type loop struct {
	*Phase
	ctx      context.Context
	letters  *letters
	resolver *resolver
	table    *timetable
	emit     func(history.Hit)

	epoll   int
	sockets []*socket   // by the number that the kernel gives back with an event
	unused  []int       // free numbers
	idle    [][]*socket // by client
	names   map[string]string
	dialled int
	flight  int
	pauses  []time.Duration // when each client that thinks has thought, in order
	buf     []byte
	out     []byte
	swept   time.Duration
}

// socket is one connection.
type socket struct {
	fd       int
	slot     int
	number   int // tells its events from those of the connection that had the slot before
	client   int
	port     int
	began    time.Duration // to connect; 0 once it is connected
	busy     bool
	gone     bool
	unsent   []byte // of the request
	answer   answer
	hit      history.Hit
	deadline time.Duration
}

const (
	sweepEvery = 50 * time.Millisecond
	maxEvents  = 256
)

// Send is Engine's.
func (epollEngine) Send(ctx context.Context, p Phase, emit func(history.Hit)) {
	runtime.LockOSThread() // the timer slack is the thread's
	defer runtime.UnlockOSThread()
	l := &loop{
		Phase: &p, ctx: ctx, letters: newLetters(&p), resolver: &resolver{host: p.at()}, emit: emit,
		idle: make([][]*socket, max(1, p.Clients.Count)), names: map[string]string{}, buf: make([]byte, 64<<10),
	}
	slack, _, _ := unix.Syscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	if p.Precise {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // where it cannot be had, lag shows it
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, slack, 0, 0, 0) }()
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		l.table = newTimetable(&p)
		for l.table.more() {
			l.fail(err)
		}
		return
	}
	defer unix.Close(l.epoll)
	l.table = newTimetable(&p)
	l.run()
	for _, s := range l.sockets {
		if !s.gone {
			l.hangUp(s)
		}
	}
}

// run goes on until every request is answered or has failed, or ctx ends.
func (l *loop) run() {
	events := make([]unix.EpollEvent, maxEvents)
	for {
		l.fill()
		if l.ctx.Err() != nil {
			l.cut()
			return
		}
		if l.flight == 0 && !l.table.more() {
			return
		}
		n := l.wait(events)
		for i := range n {
			e := &events[i]
			if s := l.sockets[e.Fd]; int32(s.number) == e.Pad && !s.gone {
				l.serve(s, e.Events)
				l.fill()
			}
		}
		if now := l.now(); now-l.swept > sweepEvery {
			l.swept = now
			l.sweep(now)
		}
	}
}

// fill begins every request whose time has come.
func (l *loop) fill() {
	for l.flight+len(l.pauses) < l.Concurrency && l.table.more() && l.ctx.Err() == nil {
		if l.Open() && l.due() > l.now() {
			return
		}
		l.begin()
	}
	for len(l.pauses) > 0 && l.pauses[0] <= l.now() {
		l.pauses = l.pauses[1:]
		if !l.table.more() {
			continue
		}
		l.begin()
	}
}

// due is when the next request is to be begun at the latest: in a row it waits for the answer to the one before.
func (l *loop) due() time.Duration {
	if l.flight > 0 && l.table.inRow() {
		return l.table.due + plan.RowPatience
	}
	return l.table.due
}

// wait sleeps until something happens, a request is due, or it is time to sweep.
func (l *loop) wait(events []unix.EpollEvent) int {
	now := l.now()
	until := now + sweepEvery
	if l.Open() && l.flight < l.Concurrency && l.table.more() {
		until = min(until, l.due())
	}
	if len(l.pauses) > 0 {
		until = min(until, l.pauses[0])
	}
	left := max(0, until-now)
	if l.Precise {
		return l.waitExactly(events, left)
	}
	n, _ := unix.EpollWait(l.epoll, events, int((left+time.Millisecond-1)/time.Millisecond))
	return max(0, n)
}

// waitExactly is epoll_pwait2, whose timeout is in nanoseconds.
func (l *loop) waitExactly(events []unix.EpollEvent, left time.Duration) int {
	ts := unix.NsecToTimespec(int64(left))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// begin sends the next request, over an idle connection of its client if there is one.
func (l *loop) begin() {
	i, due := l.table.take()
	h := l.hit(i, due)
	l.flight++
	h.Flight = l.flight
	want := l.letters.letter(i)
	s := l.take(h.Client, want.request.Port)
	if s == nil {
		var err error
		if s, err = l.dial(h.Client, want.request.Port); err != nil {
			h.Err = classify(err)
			l.finish(&h)
			return
		}
	}
	h.Conn = s.number
	s.hit, s.deadline, s.busy = h, h.Sent+l.Timeout, true
	s.answer.reset(want.request.Method == http.MethodHead)
	if s.began == 0 {
		l.write(s)
	}
}

// fail is for a request that cannot even be begun.
func (l *loop) fail(err error) {
	i, due := l.table.take()
	h := l.hit(i, due)
	l.flight++
	h.Err = classify(err)
	l.finish(&h)
}

// finish tells of a hit.
func (l *loop) finish(h *history.Hit) {
	l.flight--
	h.Done = l.now()
	if h.Err != "" && l.ctx.Err() != nil {
		h.Err = history.Tester // cut by us, whatever it looked like
	}
	if l.Think > 0 {
		l.pauses = append(l.pauses, h.Done+l.Think)
	}
	l.emit(*h)
}

// take gives the client's connection that was used last.
func (l *loop) take(client, port int) *socket {
	for n := len(l.idle[client]) - 1; n >= 0; n-- {
		s := l.idle[client][n]
		if s.port != port && !s.gone {
			continue
		}
		l.idle[client] = slices.Delete(l.idle[client], n, n+1)
		if !s.gone {
			return s
		}
	}
	return nil
}

// dial begins a connection.
func (l *loop) dial(client, port int) (*socket, error) {
	to, err := l.resolver.lookup(l.ctx)
	if err != nil {
		return nil, err
	}
	began := max(1, l.now())
	fd, connected, err := connect(l.from(client), netip.AddrPortFrom(to, uint16(port)))
	if err != nil {
		return nil, err
	}
	l.dialled++
	s := &socket{fd: fd, number: l.dialled, client: client, port: port, began: began, answer: answer{names: l.names}}
	l.place(s)
	if connected {
		s.began = 0
	}
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET,
		Fd:     int32(s.slot), Pad: int32(s.number),
	}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		l.hangUp(s)
		return nil, err
	}
	return s, nil
}

// place gives a connection a number by which events name it.
func (l *loop) place(s *socket) {
	if n := len(l.unused); n > 0 {
		s.slot = l.unused[n-1]
		l.unused = l.unused[:n-1]
		l.sockets[s.slot] = s
		return
	}
	s.slot = len(l.sockets)
	l.sockets = append(l.sockets, s)
}

// connect opens a socket that never blocks.
func connect(from netip.Addr, to netip.AddrPort) (fd int, connected bool, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, false, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if from.IsValid() {
		// Ports are chosen with the destination in mind.
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

// serve does what an event is about.
func (l *loop) serve(s *socket, what uint32) {
	if s.began > 0 {
		if what&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0 {
			return
		}
		if code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			l.end(s, syscall.Errno(code))
			return
		}
		s.hit.Connect, s.began = l.now()-s.began, 0
		l.write(s)
	} else if what&unix.EPOLLOUT != 0 && len(s.unsent) > 0 {
		l.push(s, s.unsent)
	}
	if what&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 && !s.gone {
		l.read(s, what&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

// write sends the request of a connection's hit.
func (l *loop) write(s *socket) {
	l.out = l.letters.write(l.out[:0], s.hit.Index, s.hit.Seq)
	l.push(s, l.out)
}

// push sends what the kernel takes, and keeps the rest until it takes more.
func (l *loop) push(s *socket, p []byte) {
	for len(p) > 0 {
		n, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch {
		case errno == 0:
			p = p[n:]
			continue
		case errno == unix.EINTR:
			continue
		case errno != unix.EAGAIN:
			l.lost(s, errno)
			return
		}
		break
	}
	s.unsent = append(s.unsent[:0], p...)
}

// lost is a connection that takes no more of the request; its answer may have come before.
func (l *loop) lost(s *socket, errno syscall.Errno) {
	s.unsent = nil
	l.read(s, true)
	if !s.gone {
		l.end(s, errno)
	}
}

// read takes what has come. last says that nothing will follow it.
func (l *loop) read(s *socket, last bool) {
	for {
		n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(s.fd),
			uintptr(unsafe.Pointer(&l.buf[0])), uintptr(len(l.buf)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.end(s, errno)
			return
		case n == 0:
			l.ended(s)
			return
		case !s.busy:
			l.hangUp(s) // nobody asked for this
			return
		}
		used, err := s.answer.feed(l.buf[:n])
		if err != nil || used < int(n) {
			s.hit.Err = history.Garbage
		}
		if s.hit.Err != "" || s.answer.done() {
			l.answered(s, last)
			return
		}
		if int(n) < len(l.buf) && !last {
			return // it was all there was, and more will be told
		}
	}
}

// ended is a connection that the other side has closed.
func (l *loop) ended(s *socket) {
	if !s.busy {
		l.hangUp(s)
		return
	}
	s.hit.Err = s.answer.end()
	l.answered(s, true)
}

// answered is a hit that has its answer, or all of it that there will be.
func (l *loop) answered(s *socket, last bool) {
	s.answer.report(&s.hit)
	l.letters.keep(s.hit.Index, s.answer.cookies)
	s.busy = false
	ends := last || s.answer.close || l.Fresh
	if broken := s.hit.Err != "" || len(s.unsent) > 0; broken || ends {
		l.hangUp(s)
	} else {
		l.idle[s.client] = append(l.idle[s.client], s)
	}
	l.finish(&s.hit)
}

// end is a connection that failed.
func (l *loop) end(s *socket, err error) {
	if !s.busy {
		l.hangUp(s)
		return
	}
	s.busy = false
	s.answer.report(&s.hit)
	s.hit.Err = classify(err)
	l.hangUp(s)
	l.finish(&s.hit)
}

// hangUp closes a connection. Its slot can be had once more.
func (l *loop) hangUp(s *socket) {
	unix.Close(s.fd)
	s.gone, s.unsent = true, nil
	l.unused = append(l.unused, s.slot)
}

// sweep ends what has taken too long.
func (l *loop) sweep(now time.Duration) {
	for _, s := range l.sockets {
		if s.busy && s.deadline < now {
			l.end(s, unix.ETIMEDOUT)
		}
	}
}

// cut ends everything.
func (l *loop) cut() {
	for _, s := range l.sockets {
		if s.busy {
			l.end(s, errCut)
		}
	}
}
