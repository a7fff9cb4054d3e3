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

// Behaviour is how a service misbehaves. The zero value is normal behaviour.
type Behaviour struct {
	HealthOnly  bool          `json:"health_only,omitempty"`  // affects health-check paths, and only those
	Ratio       float64       `json:"ratio,omitempty"`        // share of requests affected; 0: all
	Period      time.Duration `json:"period,omitempty"`       // if set, active periodically,
	ActiveFor   time.Duration `json:"active_for,omitempty"`   // for this long at the start of each period
	Status      int           `json:"status,omitempty"`       // of the response
	Delay       time.Duration `json:"delay,omitempty"`        // before the response
	Jitter      time.Duration `json:"jitter,omitempty"`       // mean of an additional exponential delay
	Hang        bool          `json:"hang,omitempty"`         // no response
	LengthError int           `json:"length_error,omitempty"` // added to the true Content-Length
	EarlyClose  bool          `json:"early_close,omitempty"`  // close the connection within the body
	BodyTime    time.Duration `json:"body_time,omitempty"`    // time to send the body
	BadHeader   bool          `json:"bad_header,omitempty"`   // send an invalid header line
	CloseReused bool          `json:"close_reused,omitempty"` // close a connection on its second request
	For         time.Duration `json:"for"`                    // until it expires
}

// activeBehaviour is a behaviour, when it started, and how often it took effect.
type activeBehaviour struct {
	Behaviour
	since time.Duration
	shown atomic.Int64
}

// PollHeader marks requests that verify a fault. They are handled like others but not recorded as arrivals.
const PollHeader = "X-Lbproof-Poll"

// applies reports whether the behaviour affects a request.
func (b *activeBehaviour) applies(path string, health []string) bool {
	now := Now() - b.since
	switch {
	case now > b.For, b.HealthOnly != (slices.Contains(health, path) || strings.HasPrefix(path, "/api/health/")):
		return false
	case b.Period > 0 && now%b.Period >= b.ActiveFor:
		return false
	}
	return b.Ratio == 0 || rand.Float64() < b.Ratio
}

// withBehaviour responds as the active behaviour specifies.
func (s *Service) withBehaviour(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := s.active.Load()
		if b == nil || fromLoopback(r) || !b.applies(r.URL.Path, s.allHealthPaths()) {
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
		case b.CloseReused:
			s.closeSecond(w, r, next)
		case b.LengthError != 0, b.EarlyClose, b.BodyTime > 0, b.BadHeader:
			s.writeBroken(w, r, b.Behaviour)
		case b.Status != 0:
			s.reply(w, b.Status, map[string]string{"detail": http.StatusText(b.Status)})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// allHealthPaths returns the paths that report the service's health.
func (s *Service) allHealthPaths() []string {
	return append([]string{"/health", "/ready"}, s.HealthPaths...)
}

// closeSecond serves the first request of a connection and closes the connection on the second, when the client has
// every reason to expect a response.
func (s *Service) closeSecond(w http.ResponseWriter, r *http.Request, next http.Handler) {
	served, ok := r.Context().Value(servedKey{}).(*atomic.Int64)
	if ok && served.Add(1) > 1 {
		panic(http.ErrAbortHandler)
	}
	next.ServeHTTP(w, r)
}

// servedKey is the context key of a connection's request count.
type servedKey struct{}

// writeBroken writes an invalid HTTP response.
func (s *Service) writeBroken(w http.ResponseWriter, r *http.Request, b Behaviour) {
	const body = `{"detail":"this answer is broken on purpose"}` + "\n"
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + s.ServerHeader + ": " + s.Tag + "\r\n"
	if b.BadHeader {
		head += "this is not a header line\r\n"
	}
	head += "Content-Length: " + strconv.Itoa(len(body)+b.LengthError) + "\r\n\r\n"
	first := len(body)
	if b.EarlyClose {
		first /= 2
	}
	if _, err := conn.Write([]byte(head)); err != nil {
		return
	}
	for i := range first {
		if b.BodyTime > 0 && !sleep.For(r.Context(), b.BodyTime/time.Duration(first)) {
			return
		}
		if _, err := conn.Write([]byte{body[i]}); err != nil {
			return
		}
		if b.BodyTime == 0 {
			_, _ = conn.Write([]byte(body[i+1 : first]))
			break
		}
	}
}

// connContext adds a connection and its request count to the context of its requests.
func connContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(context.WithValue(ctx, servedKey{}, &atomic.Int64{}), connKey{}, conn)
}

// setBehaviour handles POST /behave: it sets a behaviour and returns how often the previous one took effect.
func (s *Service) setBehaviour(w http.ResponseWriter, r *http.Request) {
	next := &activeBehaviour{since: Now()}
	if err := json.NewDecoder(r.Body).Decode(&next.Behaviour); err != nil {
		s.reply(w, http.StatusBadRequest, map[string]string{"detail": fmt.Sprintf("decode behaviour: %v", err)})
		return
	}
	shown := int64(0)
	if before := s.active.Swap(next); before != nil {
		shown = before.shown.Load()
	}
	s.reply(w, http.StatusOK, map[string]int64{"shown": shown})
}

// exhaust allocates memory, 1 MiB at a time and faster than garbage collection, until the process is killed.
func (s *Service) exhaust(http.ResponseWriter, *http.Request) {
	var all [][]byte
	for {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
		if len(all) > 1<<16 {
			return // 64 GiB: there is no limit
		}
	}
}
