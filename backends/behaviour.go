package backends

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lbproof/lbproof/internal/sleep"
)

// Behaviour is how a service misbehaves. The zero value does not.
type Behaviour struct {
	Health  bool          `json:"health,omitempty"`  // it is the paths of health checks that are concerned, and no others
	Ratio   float64       `json:"ratio,omitempty"`   // share of the requests that are concerned; 0 is all
	Every   time.Duration `json:"every,omitempty"`   // it comes and goes with this period, and
	On      time.Duration `json:"on,omitempty"`      // is there for the first so much of it
	Status  int           `json:"status,omitempty"`  // the answer, instead of the true one
	Delay   time.Duration `json:"delay,omitempty"`   // before the answer
	Jitter  time.Duration `json:"jitter,omitempty"`  // mean of an exponential delay on top
	Hang    bool          `json:"hang,omitempty"`    // there is no answer
	Promise int           `json:"promise,omitempty"` // bytes by which Content-Length is more than the body; negative: less
	Early   bool          `json:"early,omitempty"`   // the connection ends in the middle of the body
	Slow    time.Duration `json:"slow,omitempty"`    // how long the body takes
	Header  bool          `json:"header,omitempty"`  // a header line that is none
	Close   bool          `json:"close,omitempty"`   // the second request of a connection finds it closed
	For     time.Duration `json:"for"`               // after so long it behaves again
}

// behaving is a behaviour since when and how often it showed.
type behaving struct {
	Behaviour
	since time.Duration
	shown atomic.Int64
}

// LookHeader marks requests that look whether a service behaves as it should. They are treated as all others are, and are
// no arrivals.
const LookHeader = "X-Lbproof-Look"

// concerns says whether a request is one that is answered wrongly.
func (b *behaving) concerns(path string, health []string) bool {
	now := Now() - b.since
	switch {
	case now > b.For, b.Health != (slices.Contains(health, path) || strings.HasPrefix(path, "/api/health/")):
		return false
	case b.Every > 0 && now%b.Every >= b.On:
		return false
	}
	return b.Ratio == 0 || rand.Float64() < b.Ratio
}

// misbehave answers as the service is told to, or not at all.
func (s *Service) misbehave(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := s.behaving.Load()
		if b == nil || fromLoopback(r) || !b.concerns(r.URL.Path, s.healthPaths()) {
			next.ServeHTTP(w, r)
			return
		}
		b.shown.Add(1)
		delay := b.Delay
		if b.Jitter > 0 {
			delay += time.Duration(rand.ExpFloat64() * float64(b.Jitter))
		}
		if !sleep.For(r.Context(), delay) {
			return
		}
		switch {
		case b.Hang:
			sleep.For(r.Context(), b.For)
			panic(http.ErrAbortHandler)
		case b.Close:
			s.closeSecond(w, r, next)
		case b.Promise != 0, b.Early, b.Slow > 0, b.Header:
			s.wrongly(w, r, b.Behaviour)
		case b.Status != 0:
			s.reply(w, b.Status, map[string]string{"detail": http.StatusText(b.Status)})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// healthPaths are those that say how the service is.
func (s *Service) healthPaths() []string { return append([]string{"/health", "/ready"}, s.Health...) }

// closeSecond answers the first request of a connection, and closes it when the next one comes: the client had every reason
// to think that it was good.
func (s *Service) closeSecond(w http.ResponseWriter, r *http.Request, next http.Handler) {
	served, ok := r.Context().Value(servedKey{}).(*atomic.Int64)
	if ok && served.Add(1) > 1 {
		panic(http.ErrAbortHandler)
	}
	next.ServeHTTP(w, r)
}

// servedKey is where a connection's context counts its requests.
type servedKey struct{}

// wrongly writes an answer that is no good HTTP.
func (s *Service) wrongly(w http.ResponseWriter, r *http.Request, b Behaviour) {
	const body = `{"detail":"this answer is broken on purpose"}` + "\n"
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + s.Server + ": " + s.Tag + "\r\n"
	if b.Header {
		head += "this is no header line\r\n"
	}
	head += "Content-Length: " + strconv.Itoa(len(body)+b.Promise) + "\r\n\r\n"
	first := len(body)
	if b.Early {
		first /= 2
	}
	if _, err := conn.Write([]byte(head)); err != nil {
		return
	}
	for i := range first {
		if b.Slow > 0 && !sleep.For(r.Context(), b.Slow/time.Duration(first)) {
			return
		}
		if _, err := conn.Write([]byte{body[i]}); err != nil {
			return
		}
		if b.Slow == 0 {
			_, _ = conn.Write([]byte(body[i+1 : first]))
			break
		}
	}
}

// countServed gives every connection a count of its requests, and requests their connection.
func countServed(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(context.WithValue(ctx, servedKey{}, &atomic.Int64{}), connKey{}, conn)
}

// behave takes orders: POST /behave sets a behaviour, and says how often the one before showed; POST /exhaust takes memory
// until there is none.
func (s *Service) behave(w http.ResponseWriter, r *http.Request) {
	next := &behaving{since: Now()}
	if err := json.NewDecoder(r.Body).Decode(&next.Behaviour); err != nil {
		s.reply(w, http.StatusBadRequest, map[string]string{"detail": fmt.Sprintf("read the behaviour: %v", err)})
		return
	}
	shown := int64(0)
	if before := s.behaving.Swap(next); before != nil {
		shown = before.shown.Load()
	}
	s.reply(w, http.StatusOK, map[string]int64{"shown": shown})
}

// exhaust fills memory a mebibyte at a time, fast enough for no collector.
func (s *Service) exhaust(http.ResponseWriter, *http.Request) {
	var all [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
		if len(all) > 1<<16 {
			return // 64 GiB: nothing limits it
		}
	}
}
