package backends

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lbproof/lbproof/internal/sleep"
)

// ResponseSpec tells the service how to respond to one request. It is sent in a request header, url.Values encoded. The
// zero value means 200 with a short body, whatever the method and path.
type ResponseSpec struct {
	Status    int           // status
	Helper    int           // helper: status of a Helper, which ignores the rest
	Path      string        // at: apply only to this path; empty: any
	Backends  []string      // by: apply only to the services with these tags; empty: all
	Delay     time.Duration // delay: before the response
	ReadDelay time.Duration // deaf: before reading the body
	Size      int           // size: of the body, in bytes
	Type      string        // type: Content-Type
	Close     bool          // cut: close the connection without a response
}

func parseResponseSpec(header string) (ResponseSpec, error) {
	values, err := url.ParseQuery(header)
	if err != nil {
		return ResponseSpec{}, err
	}
	isComma := func(r rune) bool { return r == ',' }
	w := ResponseSpec{
		Status: http.StatusOK, Path: values.Get("at"), Backends: strings.FieldsFunc(values.Get("by"), isComma),
		Type: values.Get("type"), Close: values.Has("cut"),
	}
	number := func(name string, into *int) {
		if value := values.Get(name); value != "" && err == nil {
			*into, err = strconv.Atoi(value)
		}
	}
	span := func(name string, into *time.Duration) {
		if value := values.Get(name); value != "" && err == nil {
			*into, err = time.ParseDuration(value)
		}
	}
	number("status", &w.Status)
	number("helper", &w.Helper)
	number("size", &w.Size)
	span("delay", &w.Delay)
	span("deaf", &w.ReadDelay)
	rightStatus := 200 <= w.Status && w.Status <= 599
	rightSize := 0 <= w.Size && w.Size <= maxBody
	if err == nil && !(rightStatus && rightSize) {
		err = fmt.Errorf("status %d, size %d", w.Status, w.Size)
	}
	return w, err
}

// withResponseSpec responds to requests with a response spec.
func (s *Service) withResponseSpec(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get(s.ResponseSpecHeader)
		if header == "" || isUpgrade(r) {
			next.ServeHTTP(w, r)
			return
		}
		spec, err := parseResponseSpec(header)
		switch {
		case err != nil:
			detail := fmt.Sprintf("parse response spec %q: %v", header, err)
			s.reply(w, http.StatusBadRequest, map[string]string{"detail": detail})
		case !s.applies(spec, r.URL.Path):
			next.ServeHTTP(w, r)
		case s.Helper:
			s.reply(w, spec.Helper, map[string]string{"helper": s.Tag})
		default:
			s.respondAsSpecified(w, r, spec)
		}
	})
}

// applies reports whether a spec in a request to path applies to this service.
func (s *Service) applies(spec ResponseSpec, path string) bool {
	here := spec.Path == "" || spec.Path == path
	mine := len(spec.Backends) == 0 || slices.Contains(spec.Backends, s.Tag)
	silent := s.Helper && spec.Helper == 0
	return here && mine && !silent
}

func (s *Service) respondAsSpecified(w http.ResponseWriter, r *http.Request, spec ResponseSpec) {
	if spec.ReadDelay > 0 {
		shrinkReadBuffer(r.Context())
		if !sleep.For(r.Context(), spec.ReadDelay) {
			return
		}
	}
	_, _ = io.Copy(io.Discard, r.Body) // a client that has disconnected is no error of the service
	if !sleep.For(r.Context(), spec.Delay) {
		return
	}
	if spec.Close {
		panic(http.ErrAbortHandler)
	}
	if spec.Size == 0 && spec.Type == "" {
		s.reply(w, spec.Status, map[string]string{"detail": http.StatusText(spec.Status)})
		return
	}
	if spec.Type != "" {
		w.Header().Set("Content-Type", spec.Type)
	}
	w.Header().Set(s.SizeHeader, strconv.Itoa(spec.Size))
	w.Header().Set("Content-Length", strconv.Itoa(spec.Size))
	w.WriteHeader(spec.Status)
	_, _ = io.WriteString(w, strings.Repeat("x", spec.Size))
}

// connKey is the context key of a request's connection.
type connKey struct{}

// shrinkReadBuffer shrinks the receive buffer so that the peer observes back-pressure. It keeps what has been
// advertised: packets dropped beyond that would be retransmitted, and each partial read would reset the peer's timer.
func shrinkReadBuffer(ctx context.Context) {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(64 << 10)
	}
}

// addConnInfo adds the fields that the ledger records of requests with a response spec.
func addConnInfo(values url.Values, r *http.Request) {
	values.Set(":path", r.RequestURI)
	values.Set(":conn", r.RemoteAddr)
}
