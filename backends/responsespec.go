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

// ResponseSpec is the answer that a client asks for, in a request header in url.Values encoding. It concerns this request alone, so that
// many can be tried at once. The zero value is 200 with a short body, whatever the method and path.
type ResponseSpec struct {
	Status    int           // status
	Helper    int           // helper: the status of a Helper, which heeds nothing else
	Path      string        // at: it concerns requests to this path only; empty is all
	Backends  []string      // by: it concerns these services only, by their tags; none is all
	Delay     time.Duration // delay, before the answer
	ReadDelay time.Duration // deaf: so long nothing of the body is read
	Size      int           // size of the body, bytes
	Type      string        // type of the body
	Close     bool          // cut: the connection ends without an answer
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

// withResponseSpec answers requests that wish for an answer.
func (s *Service) withResponseSpec(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get(s.ResponseSpecHeader)
		if header == "" || isUpgrade(r) {
			next.ServeHTTP(w, r)
			return
		}
		wish, err := parseResponseSpec(header)
		switch {
		case err != nil:
			s.reply(w, http.StatusBadRequest, map[string]string{"detail": fmt.Sprintf("read the wish %q: %v", header, err)})
		case !s.applies(wish, r.URL.Path):
			next.ServeHTTP(w, r)
		case s.Helper:
			s.reply(w, wish.Helper, map[string]string{"helper": s.Tag})
		default:
			s.respondAsSpecified(w, r, wish)
		}
	})
}

// applies reports whether a wish in a request to a path concerns the service.
func (s *Service) applies(wish ResponseSpec, path string) bool {
	here := wish.Path == "" || wish.Path == path
	mine := len(wish.Backends) == 0 || slices.Contains(wish.Backends, s.Tag)
	silent := s.Helper && wish.Helper == 0
	return here && mine && !silent
}

func (s *Service) respondAsSpecified(w http.ResponseWriter, r *http.Request, wish ResponseSpec) {
	if wish.ReadDelay > 0 {
		shrinkReadBuffer(r.Context())
		if !sleep.For(r.Context(), wish.ReadDelay) {
			return
		}
	}
	_, _ = io.Copy(io.Discard, r.Body) // one that goes away is no fault of the service
	if !sleep.For(r.Context(), wish.Delay) {
		return
	}
	if wish.Close {
		panic(http.ErrAbortHandler)
	}
	if wish.Size == 0 && wish.Type == "" {
		s.reply(w, wish.Status, map[string]string{"detail": http.StatusText(wish.Status)})
		return
	}
	if wish.Type != "" {
		w.Header().Set("Content-Type", wish.Type)
	}
	w.Header().Set(s.SizeHeader, strconv.Itoa(wish.Size))
	w.Header().Set("Content-Length", strconv.Itoa(wish.Size))
	w.WriteHeader(wish.Status)
	_, _ = io.WriteString(w, strings.Repeat("x", wish.Size))
}

// connKey is where a request's context holds its connection.
type connKey struct{}

// shrinkReadBuffer has the kernel take little of a connection that nobody reads, and no less than it has offered to take: what it drops of that
// is sent again later and later, and each time that some of it fits in after all, who sends it begins to wait anew.
func shrinkReadBuffer(ctx context.Context) {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(64 << 10)
	}
}

// addConnInfo adds what the ledger keeps of requests with a wish.
func addConnInfo(values url.Values, r *http.Request) {
	values.Set(":path", r.RequestURI)
	values.Set(":conn", r.RemoteAddr)
}
