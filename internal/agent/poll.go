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

// Poll requests a page from another node repeatedly until the result matches Expect.
type Poll struct {
	Addr             netip.AddrPort
	LookupName       string            `json:",omitempty"` // resolve this name instead of using Addr's address
	Path             string            `json:",omitempty"`
	Header           map[string]string `json:",omitempty"`
	TLS              bool              `json:",omitempty"`
	CA               []byte            `json:",omitempty"` // PEM of the accepted CA; empty: any
	ServerName       string            `json:",omitempty"` // that the certificate must be valid for
	Timeout          time.Duration     // of one try
	Interval         time.Duration     // between tries
	GiveUpAfter      time.Duration     // in total
	Expect           Expectation
	SecondRequest    bool `json:",omitempty"` // send a second request on the same connection; its response counts
	UntilClose       bool `json:",omitempty"` // a try ends when the connection does
	Consecutive      int  `json:",omitempty"` // matching tries needed; 0: one
	MissesWhenHealed int  `json:"-"`          // misses in a row that show that an intermittent fault is gone
}

// Expectation is what a poll waits for. Unset fields match anything.
type Expectation struct {
	Not         bool          `json:",omitempty"` // invert the match
	Outcomes    []Outcome     `json:",omitempty"`
	Codes       []int         `json:",omitempty"`
	MinDuration time.Duration `json:",omitempty"`
	Contains    string        `json:",omitempty"` // in Observation.Detail
	Address     netip.Addr    `json:",omitzero"`  // that the name resolves to
}

// Outcome is how a try ended.
type Outcome string

// The outcomes.
const (
	Answered      Outcome = "answered"
	Refused       Outcome = "refused"
	TimedOut      Outcome = "timed out"
	Closed        Outcome = "closed" // or reset, before the response was complete
	Malformed     Outcome = "malformed"
	NameNotFound  Outcome = "name not found"
	UntrustedCert Outcome = "untrusted certificate"
	Failed        Outcome = "failed" // any other error
)

// Observation is the result of a try.
type Observation struct {
	Start, End time.Duration // on the host's monotonic clock
	LastMiss   time.Duration // start of the latest earlier try that did not match; 0 if none
	Outcome    Outcome
	Code       int        `json:",omitempty"`
	Detail     string     `json:",omitempty"`
	Tries      int        // number of tries
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

// matches reports whether an observation is the expected one.
func (w Expectation) matches(s Observation) bool {
	end := len(w.Outcomes) == 0 || slices.Contains(w.Outcomes, s.Outcome)
	code := len(w.Codes) == 0 || slices.Contains(w.Codes, s.Code)
	address := !w.Address.IsValid() || w.Address == s.Address
	slow, contains := s.End-s.Start >= w.MinDuration, strings.Contains(s.Detail, w.Contains)
	response := end && code && contains
	return (response && address && slow) != w.Not
}

// maxConcurrentTries limits concurrent tries; one that hangs does not delay the next.
const maxConcurrentTries = 32

// run polls until the expectation is met. Observation.Start is the start of the first matching try.
func (l Poll) run(ctx context.Context) (*Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, l.GiveUpAfter)
	defer cancel()
	tries := make(chan Observation)
	slots := make(chan struct{}, maxConcurrentTries)
	go func() {
		tick := time.NewTicker(max(l.Interval, time.Millisecond))
		defer tick.Stop()
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case slots <- struct{}{}:
			}
			go func() {
				seen := l.try(ctx)
				<-slots
				select {
				case tries <- seen:
				case <-ctx.Done():
				}
			}()
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return l.await(ctx, tries)
}

func (l Poll) await(ctx context.Context, tries <-chan Observation) (*Observation, error) {
	n, streak := 0, 0
	var first, last Observation
	missed := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("not observed within %s in %d polls; last: %s", l.GiveUpAfter, n, last)
		case last = <-tries:
		}
		n++
		if !l.Expect.matches(last) {
			streak, missed = 0, max(missed, last.Start)
			continue
		}
		if streak++; streak == 1 || last.Start < first.Start {
			first.Start = last.Start
		}
		if streak >= max(1, l.Consecutive) {
			last.Start, last.Tries = first.Start, n
			last.LastMiss = min(missed, first.Start)
			return &last, nil
		}
	}
}

// pollPort is the source port of the next try.
var pollPort atomic.Uint32

// try polls once, from a source port that distinguishes polls from connection attempts.
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

// dial connects from a source port reserved for polls.
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

var errMalformed = errors.New("not an HTTP response")

// request sends the request and reads the whole response.
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

// get sends one request on an open connection; last: no request follows.
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

// outcomeOf maps an error to an outcome.
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
