package agent

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lbproof/lbproof/backends"
)

// Look asks another node for a page, again and again, until what comes back is as Want says.
type Look struct {
	At       netip.AddrPort
	Name     string            `json:",omitempty"` // where the address is to be found out by the node's own resolver
	Path     string            `json:",omitempty"`
	Header   map[string]string `json:",omitempty"`
	TLS      bool              `json:",omitempty"`
	Trust    []byte            `json:",omitempty"` // PEM of the authority whose certificates are taken; empty is any
	Host     string            `json:",omitempty"` // that the certificate is to be for
	Timeout  time.Duration     // of one look
	Every    time.Duration     // how far the looks lie apart
	Within   time.Duration     // when to give up
	Want     Want
	Twice    bool `json:",omitempty"` // a second request on the same connection, whose answer counts
	ToTheEnd bool `json:",omitempty"` // the look ends when the connection does
	InARow   int  `json:",omitempty"` // so many looks on end; 0 is one
	Misses   int  `json:"-"`          // so many looks on end without it show that what comes now and then is gone
}

// Want is what a look is to see. Fields that are not set do not matter.
type Want struct {
	Not     bool          `json:",omitempty"` // anything else
	Ends    []End         `json:",omitempty"`
	Codes   []int         `json:",omitempty"`
	Slower  time.Duration `json:",omitempty"`
	Says    string        `json:",omitempty"` // that Detail has in it
	Address netip.Addr    `json:",omitzero"`  // that the name has
}

// End is how a look ended.
type End string

// The ends of looks.
const (
	Answered End = "answered"
	Refused  End = "refused"
	TimedOut End = "timed out"
	Closed   End = "closed" // or reset, before the answer was whole
	Garbled  End = "garbled"
	Unnamed  End = "unnamed"    // the name has no address
	Distrust End = "distrusted" // the certificate is not taken
	Failed   End = "failed"     // in another way
)

// Seen is what a look saw.
type Seen struct {
	From, To time.Duration // on the host's monotonic clock
	Before   time.Duration // when the latest earlier look began that did not see it; 0 where there was none
	End      End
	Code     int        `json:",omitempty"`
	Detail   string     `json:",omitempty"`
	Looks    int        // how many it took
	Address  netip.Addr `json:",omitzero"`
}

func (s Seen) String() string {
	text := string(s.End)
	if s.Code != 0 {
		text += " " + strconv.Itoa(s.Code)
	}
	text += fmt.Sprintf(" after %s", (s.To - s.From).Round(100*time.Microsecond))
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

// fits says whether it is what was wanted.
func (w Want) fits(s Seen) bool {
	end := len(w.Ends) == 0 || slices.Contains(w.Ends, s.End)
	code := len(w.Codes) == 0 || slices.Contains(w.Codes, s.Code)
	address := !w.Address.IsValid() || w.Address == s.Address
	slow, says := s.To-s.From >= w.Slower, strings.Contains(s.Detail, w.Says)
	answer := end && code && says
	return (answer && address && slow) != w.Not
}

// lookers is how many looks may be under way at once: those that hang do not hold up the next.
const lookers = 32

// until looks until it sees what is wanted. Seen.From is when the look began that saw it, or the first of those in a row.
func (l Look) until(ctx context.Context) (*Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, l.Within)
	defer cancel()
	looks := make(chan Seen)
	under := make(chan struct{}, lookers)
	go func() {
		tick := time.NewTicker(max(l.Every, time.Millisecond))
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case under <- struct{}{}:
			}
			go func() {
				seen := l.once(ctx)
				<-under
				select {
				case looks <- seen:
				case <-ctx.Done():
				}
			}()
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return l.wait(ctx, looks)
}

func (l Look) wait(ctx context.Context, looks <-chan Seen) (*Seen, error) {
	n, row := 0, 0
	var first, last Seen
	without := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("not seen in %s and %d looks; the last: %s", l.Within, n, last)
		case last = <-looks:
		}
		n++
		if !l.Want.fits(last) {
			row, without = 0, max(without, last.From)
			continue
		}
		if row++; row == 1 || last.From < first.From {
			first.From = last.From
		}
		if row >= max(1, l.InARow) {
			last.From, last.Looks = first.From, n
			last.Before = min(without, first.From)
			return &last, nil
		}
	}
}

// nextPort is the source port of the next look.
var nextPort atomic.Uint32

// once looks one time, from a port that tells looks from attempts.
func (l Look) once(ctx context.Context) (s Seen) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	s.From = backends.Now()
	defer func() { s.To = backends.Now() }()
	at := l.At
	if l.Name != "" {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", l.Name)
		if err != nil || len(found) == 0 {
			s.End, s.Detail = Unnamed, fmt.Sprint(err)
			return s
		}
		s.Address = found[0]
		at = netip.AddrPortFrom(found[0], at.Port())
		if !at.IsValid() || at.Port() == 0 {
			s.End = Answered
			return s
		}
	}
	conn, err := dial(ctx, at)
	if err == nil && l.Path == "" {
		conn.Close()
	} else if err == nil {
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		err = l.ask(ctx, conn, &s)
	}
	s.End = endOf(err)
	if err != nil {
		s.Detail = err.Error()
	}
	return s
}

// dial connects from one of the looks' own ports.
func dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	for range 100 {
		port := looksFrom + int(nextPort.Add(1)%(1<<16-looksFrom))
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}}
		conn, err := d.DialContext(ctx, "tcp4", to.String())
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		return conn, err
	}
	return nil, syscall.EADDRINUSE
}

var errGarbled = errors.New("no HTTP answer")

// ask sends the request and reads the answer to its end.
func (l Look) ask(ctx context.Context, conn net.Conn, s *Seen) error {
	if l.TLS {
		config := &tls.Config{InsecureSkipVerify: len(l.Trust) == 0, ServerName: l.Host}
		if len(l.Trust) > 0 {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(l.Trust)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	first := bufio.NewReader(conn)
	if l.Twice {
		if err := l.get(ctx, conn, first, false, s); err != nil {
			return err
		}
	}
	if err := l.get(ctx, conn, first, true, s); err != nil || !l.ToTheEnd {
		return err
	}
	_, err := io.Copy(io.Discard, first)
	return err
}

// get asks once on an open connection; last says that nothing follows.
func (l Look) get(ctx context.Context, conn net.Conn, from *bufio.Reader, last bool, s *Seen) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+conn.RemoteAddr().String()+l.Path, nil)
	if err != nil {
		return err
	}
	for name, value := range l.Header {
		req.Header.Set(name, value)
	}
	req.Close = last
	if err := req.Write(conn); err != nil {
		return err
	}
	if _, err := from.Peek(1); err != nil {
		return err
	}
	resp, err := http.ReadResponse(from, req)
	if err != nil {
		return errors.Join(errGarbled, err)
	}
	defer resp.Body.Close()
	s.Code = resp.StatusCode
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if last && from.Buffered() > 0 {
		return errGarbled
	}
	return nil
}

// endOf classifies how a look failed.
func endOf(err error) End {
	var timeout net.Error
	var distrusted *tls.CertificateVerificationError
	switch {
	case err == nil:
		return Answered
	case errors.As(err, &distrusted):
		return Distrust
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Closed
	case errors.Is(err, errGarbled):
		return Garbled
	}
	return Failed
}
