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

// Poll asks another node for a page, again and again, until what comes back is as Want says.
type Poll struct {
	Addr             netip.AddrPort
	LookupName       string            `json:",omitempty"` // where the address is to be found out by the node's own resolver
	Path             string            `json:",omitempty"`
	Header           map[string]string `json:",omitempty"`
	TLS              bool              `json:",omitempty"`
	CA               []byte            `json:",omitempty"` // PEM of the authority whose certificates are taken; empty is any
	ServerName       string            `json:",omitempty"` // that the certificate is to be for
	Timeout          time.Duration     // of one look
	Interval         time.Duration     // how far the looks lie apart
	GiveUpAfter      time.Duration     // when to give up
	Expect           Expectation
	SecondRequest    bool `json:",omitempty"` // a second request on the same connection, whose answer counts
	UntilClose       bool `json:",omitempty"` // the look ends when the connection does
	Consecutive      int  `json:",omitempty"` // so many looks on end; 0 is one
	MissesWhenHealed int  `json:"-"`          // so many looks on end without it show that what comes now and then is gone
}

// Expectation is what a look is to see. Fields that are not set do not matter.
type Expectation struct {
	Not         bool          `json:",omitempty"` // anything else
	Outcomes    []Outcome     `json:",omitempty"`
	Codes       []int         `json:",omitempty"`
	MinDuration time.Duration `json:",omitempty"`
	Contains    string        `json:",omitempty"` // that Detail has in it
	Address     netip.Addr    `json:",omitzero"`  // that the name has
}

// Outcome is how a look ended.
type Outcome string

// The ends of looks.
const (
	Answered      Outcome = "answered"
	Refused       Outcome = "refused"
	TimedOut      Outcome = "timed out"
	Closed        Outcome = "closed" // or reset, before the answer was whole
	Malformed     Outcome = "garbled"
	NameNotFound  Outcome = "unnamed"    // the name has no address
	UntrustedCert Outcome = "distrusted" // the certificate is not taken
	Failed        Outcome = "failed"     // in another way
)

// Observation is what a look saw.
type Observation struct {
	Start, End time.Duration // on the host's monotonic clock
	LastMiss   time.Duration // when the latest earlier look began that did not see it; 0 where there was none
	Outcome    Outcome
	Code       int        `json:",omitempty"`
	Detail     string     `json:",omitempty"`
	Tries      int        // how many it took
	Address    netip.Addr `json:",omitzero"`
}

func (s Observation) String() string {
	text := string(s.Outcome)
	if s.Code != 0 {
		text += " " + strconv.Itoa(s.Code)
	}
	text += fmt.Sprintf(" after %s", (s.End - s.Start).Round(100*time.Microsecond))
	if s.Detail != "" {
		text += ": " + s.Detail
	}
	return text
}

// matches says whether it is what was wanted.
func (w Expectation) matches(s Observation) bool {
	end := len(w.Outcomes) == 0 || slices.Contains(w.Outcomes, s.Outcome)
	code := len(w.Codes) == 0 || slices.Contains(w.Codes, s.Code)
	address := !w.Address.IsValid() || w.Address == s.Address
	slow, says := s.End-s.Start >= w.MinDuration, strings.Contains(s.Detail, w.Contains)
	answer := end && code && says
	return (answer && address && slow) != w.Not
}

// maxConcurrentTries is how many looks may be under way at once: those that hang do not hold up the next.
const maxConcurrentTries = 32

// run looks until it sees what is wanted. Seen.From is when the look began that saw it, or the first of those in a row.
func (l Poll) run(ctx context.Context) (*Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, l.GiveUpAfter)
	defer cancel()
	looks := make(chan Observation)
	under := make(chan struct{}, maxConcurrentTries)
	go func() {
		tick := time.NewTicker(max(l.Interval, time.Millisecond))
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case under <- struct{}{}:
			}
			go func() {
				seen := l.try(ctx)
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
	return l.await(ctx, looks)
}

func (l Poll) await(ctx context.Context, looks <-chan Observation) (*Observation, error) {
	n, row := 0, 0
	var first, last Observation
	without := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("not seen in %s and %d looks; the last: %s", l.GiveUpAfter, n, last)
		case last = <-looks:
		}
		n++
		if !l.Expect.matches(last) {
			row, without = 0, max(without, last.Start)
			continue
		}
		if row++; row == 1 || last.Start < first.Start {
			first.Start = last.Start
		}
		if row >= max(1, l.Consecutive) {
			last.Start, last.Tries = first.Start, n
			last.LastMiss = min(without, first.Start)
			return &last, nil
		}
	}
}

// pollPort is the source port of the next look.
var pollPort atomic.Uint32

// try looks one time, from a port that tells looks from attempts.
func (l Poll) try(ctx context.Context) (s Observation) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	s.Start = backends.Now()
	defer func() { s.End = backends.Now() }()
	at := l.Addr
	if l.LookupName != "" {
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", l.LookupName)
		if err != nil || len(found) == 0 {
			s.Outcome, s.Detail = NameNotFound, fmt.Sprint(err)
			return s
		}
		s.Address = found[0]
		at = netip.AddrPortFrom(found[0], at.Port())
		if !at.IsValid() || at.Port() == 0 {
			s.Outcome = Answered
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
		err = l.request(ctx, conn, &s)
	}
	s.Outcome = outcomeOf(err)
	if err != nil {
		s.Detail = err.Error()
	}
	return s
}

// dial connects from one of the looks' own ports.
func dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	for range 100 {
		port := firstPollPort + int(pollPort.Add(1)%(1<<16-firstPollPort))
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}}
		conn, err := d.DialContext(ctx, "tcp4", to.String())
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		return conn, err
	}
	return nil, syscall.EADDRINUSE
}

var errMalformed = errors.New("no HTTP answer")

// request sends the request and reads the answer to its end.
func (l Poll) request(ctx context.Context, conn net.Conn, s *Observation) error {
	if l.TLS {
		config := &tls.Config{InsecureSkipVerify: len(l.CA) == 0, ServerName: l.ServerName}
		if len(l.CA) > 0 {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(l.CA)
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	first := bufio.NewReader(conn)
	if l.SecondRequest {
		if err := l.get(ctx, conn, first, false, s); err != nil {
			return err
		}
	}
	if err := l.get(ctx, conn, first, true, s); err != nil || !l.UntilClose {
		return err
	}
	_, err := io.Copy(io.Discard, first)
	return err
}

// get asks once on an open connection; last says that nothing follows.
func (l Poll) get(ctx context.Context, conn net.Conn, from *bufio.Reader, last bool, s *Observation) error {
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
		return errors.Join(errMalformed, err)
	}
	defer resp.Body.Close()
	s.Code = resp.StatusCode
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if last && from.Buffered() > 0 {
		return errMalformed
	}
	return nil
}

// outcomeOf classifies how a look failed.
func outcomeOf(err error) Outcome {
	var timeout net.Error
	var distrusted *tls.CertificateVerificationError
	switch {
	case err == nil:
		return Answered
	case errors.As(err, &distrusted):
		return UntrustedCert
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Closed
	case errors.Is(err, errMalformed):
		return Malformed
	}
	return Failed
}
